#!/usr/bin/env python3
"""How long the built-in bridge takes for a store of many models.

It measures runs with the catalog's header cache, as in llmsup, and runs that read all headers; with all links new, and
with none new.

It creates a store in which each manifest has its own blob, some of them with a vocabulary of a realistic size. It does
not measure a cold disk: the files were just written and are still in the file cache.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "helpers")]

import ollama_store  # noqa: E402 -- after the path
from gguf_files import tiny_llama  # noqa: E402 -- after the path

from llmsup.bridge import builtin  # noqa: E402 -- after the path
from llmsup.catalog.gguf.header_cache import HeaderCache  # noqa: E402 -- after the path

TARGET = 2.0
"""Seconds that a run may take over 1,000 manifests."""


def fill(store: Path, count: int, large: int, vocabulary: int) -> None:
    """Create the store; so many of the models have a large vocabulary."""
    tokens = [f"token {number}" for number in range(vocabulary)]
    for number in range(count):
        more = {"tokenizer.ggml.tokens": tokens} if number < large else {}
        gguf = tiny_llama(store.parent / f"{number}.gguf", name=f"Model {number}", **more)
        host = ("", "bob/", "hf.co/org/")[number % 3]
        ollama_store.add(store, f"{host}m{number // 4}:{number % 4}b", gguf, params={"temperature": 0.7})


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifests", type=int, default=1000)
    parser.add_argument("--large", type=int, default=60, help="how many have a large vocabulary")
    parser.add_argument("--vocabulary", type=int, default=150_000, help="tokens of those")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as base:
        store = Path(base, "ollama")
        fill(store, wanted.manifests, wanted.large, wanted.vocabulary)
        known = HeaderCache(Path(base, "headers.json"))
        for headers in ("read by us", "known"):
            target = Path(base, headers, "ollama")
            for links in ("new", "there"):
                began = time.perf_counter()
                outcome = builtin.bridge(store, target, builtin.look(known)).outcome
                seconds = time.perf_counter() - began
                what = f"headers {headers}, links {links}"
                did = f"{len(outcome.made)} made, {len(outcome.kept)} kept"
                print(f"{what:32} {seconds:5.2f} s   {did}{'' if seconds <= TARGET else f'   (over {TARGET:g} s)'}")


if __name__ == "__main__":
    main()
