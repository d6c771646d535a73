"""What must hold for any files in any places: names that last, and nothing lost."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from catalog_disk import PROJECTOR
from disks import disks, stamp
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsup.catalog.build import build
from llmsup.catalog.disk.pairing import says_projector
from llmsup.catalog.disk.survey import Survey
from llmsup.catalog.found import Stamp, Unreadable
from llmsup.catalog.gguf.facts import Facts
from llmsup.catalog.name_parts import split_name


@settings(deadline=None)
@given(disks(), st.randoms(use_true_random=False))
def test_the_order_of_things_does_not_matter(disk: tuple[Survey, dict[Stamp, Facts | Unreadable]], random: Any) -> None:
    """The same files give the same models, names and reasons, in whatever order they were seen and read."""
    seen, headers = disk
    candidates, stored, known = list(seen.candidates), list(seen.ollama), list(headers.items())
    for things in (candidates, stored, known):
        random.shuffle(things)
    shuffled = evolve(seen, candidates=tuple(candidates), ollama=tuple(stored))
    assert build(shuffled, dict(known)) == build(seen, headers)


@settings(deadline=None)
@given(disks(), st.sets(st.integers(0, 4), min_size=1))
def test_what_was_shown_stays_as_it_was(disk: tuple[Survey, dict[Stamp, Facts | Unreadable]], read: set[int]) -> None:
    """A model that is there while headers are still being read is there afterwards, the same in every respect."""
    seen, headers = disk
    partly = build(seen, {stamp(number): headers[stamp(number)] for number in read})
    whole = build(seen, headers)
    assert {id_: whole.models.get(id_) for id_ in partly.models} == partly.models


@settings(deadline=None)
@given(disks())
def test_every_file_is_somewhere(disk: tuple[Survey, dict[Stamp, Facts | Unreadable]]) -> None:
    """Each is a model's, or left out with a reason; no id can't be printed, and no two models begin with one file."""
    seen, headers = disk
    snapshot = build(seen, headers)
    by_path = {candidate.path: candidate.stamp for candidate in seen.candidates}
    used = {stamp for found in snapshot.models.values() for stamp in found.files}
    told = {by_path[left.path] for left in snapshot.left_out if left.path in by_path}
    # A nameless model's projector, and the other parts where the first one is another model, are not told one by one.
    heads = [candidate for candidate in seen.candidates if split_name(candidate.name)[1] == 1]
    models = [head for head in heads if headers[head.stamp] != PROJECTOR and not says_projector(head.name)]
    assert {model.stamp for model in models} <= used | told
    firsts = [found.files[0] for found in snapshot.models.values()]
    assert len(firsts) == len(set(firsts))
    assert all(found.id == id_ and id_.isprintable() for id_, found in snapshot.models.items())
