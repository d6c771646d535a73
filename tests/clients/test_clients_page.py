"""docs/clients.md is what the tests' marks say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from client_page import PAGE, Tried, case_files, marked, page

KNOWN = {"name", "about", "endpoint", "streamed", "missing", "loaded"} | {
    "method", "path", "headers", "body", "encoding", "each", "needs",
}  # fmt: skip


def test_the_page_is_up_to_date() -> None:
    """All of them pass, or the gate would fail: so the page follows from the marks."""
    assert page(marked()) == PAGE.read_text(), "run tools/clients, which tries them all and writes docs/clients.md"


def test_what_failed_is_not_green() -> None:
    tried = [Tried("x", "GET /a"), Tried("x", "GET /a", streamed=True), Tried("x", "GET /b", missing="why")]
    lines = page(tried, failed=[tried[1]]).splitlines()
    assert lines[-2:] == ["| GET /a | yes | FAILED |", "| GET /b | no: why | - |"]


@pytest.mark.parametrize(("path", "file"), list(case_files()), ids=[path.stem for path, _ in case_files()])
def test_each_case_says_where_it_is_from(path: Path, file: dict[str, Any]) -> None:
    assert "Shapes:" in path.read_text().split("client =")[0]
    for case in file["case"]:
        assert case["about"]
        assert set(case) <= KNOWN
