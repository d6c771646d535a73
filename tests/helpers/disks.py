"""Random disks: some files at some of a few places, some of them the same."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from catalog_disk import BROKEN, MODEL, PROJECTOR, part
from hypothesis import strategies as st

from llmsup.catalog.disk.survey import Stored, Survey
from llmsup.catalog.disk.walk import Candidate
from llmsup.catalog.found import Stamp, Unreadable
from llmsup.catalog.gguf.facts import Facts
from llmsup.catalog.ollama.store import OllamaModel

ROOTS = (Path("/first"), Path("/second"))
PLACES = [
    *("x.gguf", "a/b.gguf", "a/b.GGUF", "a/b/x-Q8_0.gguf", "a/b/x-Q4_0.gguf", "a/b/mmproj.gguf", "a/b/c/x.gguf"),
    *("a/b/x-00001-of-00002.gguf", "a/b/x-00002-of-00002.gguf", "a/b@Q8_0/x.gguf", "a/o:1b.gguf", "a/b/x.gguf"),
]
NAMES = ["o:1b", "o:latest", "a/o:1b"]
HEADERS: list[Facts | Unreadable] = [
    MODEL,
    MODEL,
    MODEL,
    BROKEN,
    PROJECTOR,
    part(1, 2),
    part(2, 2),
    evolve(MODEL, quantisation="Q8_0"),
]


def stamp(number: int) -> Stamp:
    return Stamp(Path(f"/real/{number}"), 1, 1)


@st.composite
def disks(draw: st.DrawFn) -> tuple[Survey, dict[Stamp, Facts | Unreadable]]:
    """Some files at some of the places, some of them the same."""
    files = st.integers(0, 4)
    spot = st.tuples(st.sampled_from(ROOTS), st.sampled_from(PLACES))
    spots = draw(st.lists(spot, unique=True, min_size=2, max_size=8))
    candidates = [
        Candidate(root / place, stamp(draw(files)), root, place, linked=draw(st.booleans())) for root, place in spots
    ]
    stored = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        number = draw(files)
        projectors = {stamp(n).path: stamp(n) for n in draw(st.lists(files, max_size=1))}
        model = OllamaModel(name=name, blob=stamp(number).path, projectors=tuple(projectors))
        stored.append(Stored(model, stamp(number), projectors))
    headers: dict[Stamp, Facts | Unreadable] = {stamp(number): draw(st.sampled_from(HEADERS)) for number in range(5)}
    return Survey(roots=ROOTS, candidates=tuple(candidates), ollama=tuple(stored), store=None), headers
