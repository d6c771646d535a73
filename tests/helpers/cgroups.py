"""A memory control group of a test's own; where there can't be one, the test fails and says why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tools.memory_group import Bounded, NoGroup
from tools.memory_group import bounded as bounded_here

__all__ = ["Bounded", "bounded"]


@contextmanager
def bounded(limit: int) -> Iterator[Bounded]:
    """A group beside our own whose processes may have so many bytes together."""
    try:
        with bounded_here(limit) as group:
            yield group
    except NoGroup as error:
        pytest.fail(str(error))
