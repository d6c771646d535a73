#!/usr/bin/env python3
"""How long it takes to know all models: at the first start, and at every later one.

It creates a tree of models like those on people's disks (publishers' folders, split files, projectors, Ollama's store,
links between them, and unrelated files); some have vocabularies of realistic size, the others tiny ones. It measures
scanning the folders, reading all headers and building the catalog, and then the same with what the first start saved.

It does not measure a cold disk: the files were just written and are still in the file cache. The median of several
runs is shown.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from attrs import Factory, define

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "helpers")]

from catalog_tree import plant  # noqa: E402 -- after the path
from gguf_files import tiny_llama  # noqa: E402 -- after the path
from gguf_zoo import ZOO  # noqa: E402 -- after the path

from llmsup.catalog.build import build  # noqa: E402 -- after the path
from llmsup.catalog.disk.survey import survey  # noqa: E402 -- after the path
from llmsup.catalog.found import Snapshot  # noqa: E402 -- after the path
from llmsup.catalog.gguf.header_cache import HeaderCache  # noqa: E402 -- after the path
from llmsup.config.schema import Catalog  # noqa: E402 -- after the path

TARGET = 0.5
"""Seconds that a start may take with 500 models that are already known."""

T = TypeVar("T")


@define
class Clock:
    """Seconds by what they were spent on, one value per run."""

    spent: dict[str, list[float]] = Factory(dict)

    def time(self, what: str, work: Callable[[], T]) -> T:
        """Do it."""
        began = time.perf_counter()
        result = work()
        self.spent.setdefault(what, []).append(time.perf_counter() - began)
        return result

    def middle(self, what: str) -> float:
        """The median in seconds."""
        return median(self.spent[what])


class Writer:
    """Writes models of all architectures, the first so many of them with a large vocabulary."""

    def __init__(self, large: int, vocabulary: int) -> None:
        self._large, self._vocabulary, self._written = large, vocabulary, 0
        self._specimens = [specimen for specimen in ZOO.values() if specimen.kind == "chat" and specimen.tokenizer]

    def __call__(self, path: Path, **more: Any) -> Path:
        """Write the next one."""
        self._written += 1
        if self._written > self._large:
            return tiny_llama(path, **more)
        specimen = self._specimens[self._written % len(self._specimens)]
        return specimen.write(path, vocabulary=self._vocabulary, **more)


def first_start(clock: Clock, catalog: Catalog, kept: Path) -> tuple[Snapshot, int]:
    """A start with nothing known. Returns the models, and how many files were read."""
    kept.unlink(missing_ok=True)
    headers = HeaderCache(kept)
    headers.load()
    seen = clock.time("survey", lambda: survey(catalog))
    stamps = seen.stamps
    known = clock.time("read", lambda: {stamp: headers.read(stamp) for stamp in stamps})
    snapshot = clock.time("build", lambda: build(seen, known))
    clock.time("save", lambda: headers.save(known))
    return snapshot, len(stamps)


def next_start(clock: Clock, catalog: Catalog, kept: Path) -> Snapshot:
    """A start with everything known."""
    headers = HeaderCache(kept)
    clock.time("load", headers.load)
    seen = clock.time("survey again", lambda: survey(catalog))
    found = clock.time("look up", lambda: {stamp: headers.get(stamp) for stamp in seen.stamps})
    known = {stamp: header for stamp, header in found.items() if header is not None}
    return clock.time("build again", lambda: build(seen, known))


def main() -> None:
    """Create the tree, start several times, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=500, help="how many (500)")
    parser.add_argument("--large", type=int, default=30, help="how many of them have a real vocabulary (30)")
    parser.add_argument("--vocabulary", type=int, default=150_000, help="its tokens (150000)")
    parser.add_argument("--runs", type=int, default=5, help="how often (5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llmsup-bench-") as scratch:
        base = Path(scratch).resolve()
        planted = plant(base, options.models, Writer(options.large, options.vocabulary))
        clock = Clock()
        for _ in range(options.runs):
            first, files = first_start(clock, planted.catalog, base / "headers.json")
            again = next_start(clock, planted.catalog, base / "headers.json")
            if first != again or set(first.models) != planted.ids:
                sys.exit("the models are not those that were made: the numbers would mean nothing")
        size = (base / "headers.json").stat().st_size
    report(clock, len(planted.ids), files, size)


def report(clock: Clock, models: int, files: int, size: int) -> None:
    """Print the numbers."""
    first = sum(map(clock.middle, ("survey", "read", "build", "save")))
    after = sum(map(clock.middle, ("load", "survey again", "look up", "build again")))
    print(f"{models} models in {files} files; what is kept of their headers takes {size / 1024:.0f} KiB\n")
    print(f"{'':34}{'first start':>14}{'next start':>14}   ms")
    for text, one, other in (
        ("look through the folders", "survey", "survey again"),
        ("load what was kept", "", "load"),
        ("read the headers, or look them up", "read", "look up"),
        ("put the models together", "build", "build again"),
        ("keep what was read", "save", ""),
    ):
        row = [f"{1000 * clock.middle(name):14.1f}" if name else f"{'-':>14}" for name in (one, other)]
        print(f"{text:34}{''.join(row)}")
    print(f"{'all':34}{1000 * first:14.1f}{1000 * after:14.1f}")
    print(f"{'a file (its header only)':34}{1000 * clock.middle('read') / files:14.2f}\n")
    verdict = "within" if after <= TARGET else "MORE THAN"
    print(f"The next start takes 1/{first / after:.0f} of the first one, {verdict} {1000 * TARGET:.0f} ms.")


if __name__ == "__main__":
    main()
