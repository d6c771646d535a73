"""What the docs point to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "llmsup"
PATH = re.compile(r"`((?:[\w.]+/)*(?:\w+\.(?:py|md|toml))|(?:llmsup|tests|tools|docs|etc)/[\w./]*)`")


def places(text: str) -> set[str]:
    """Every file and folder that stands in backticks."""
    return set(PATH.findall(text))


@pytest.mark.parametrize("name", ["docs/design.md", "docs/memory.md", "docs/performance.md", "CONTRIBUTING.md"])
def test_files_that_are_named_are_there(name: str) -> None:
    """From the root, or from the package; a bare file's name may be that of any file in it."""
    missing = {
        place
        for place in places((ROOT / name).read_text("utf-8"))
        if not any((base / place).exists() for base in (ROOT, PACKAGE, ROOT / "docs", ROOT / "etc"))
        and not ("/" not in place and list(PACKAGE.rglob(place)))
    }
    assert missing == set()


def test_the_check_can_fail() -> None:
    assert places("see `memory/policy/none.py`, `tests/none/` and `x = 1`") == {"memory/policy/none.py", "tests/none/"}
