"""docs/clients.md: which client library was tried with which endpoint, from the marks of the tests that try it.

A test says so by `@pytest.mark.client(library, endpoint, streamed=False)`, or by a mark of a parameter; what can't be
had is said by `missing="why"` on the test that shows how it is refused. All of it are literals, so that the marks can
be read without running anything. The cases in tests/clients/cases have theirs in their files.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

TESTS = Path(__file__).parents[1]
CASES = TESTS / "clients" / "cases"
PAGE = TESTS.parent / "docs" / "clients.md"

HEAD = """# Clients

Which client library was tried with which endpoint, and whether the answer was streamed. This page is written by
`tools/clients`, from a run of the tests that are marked so; a test of the gate compares it with the marks, so that what
stands here passed. A "-" was not tried; what isn't green says why.

The libraries are themselves, as they come; of other programs their first requests are sent, as we wrote them down from
their public sources. The engine is a real llama-server with a small model; what that can't be made to do (to fail, to
call a tool, to take large bodies and audio) a fake one does.
"""


@frozen(order=True)
class Tried:
    """One thing that a test tries.

    Attributes:
        missing: Why it can't be had; "" if it can.
    """

    library: str
    endpoint: str
    streamed: bool = False
    missing: str = ""


def tried(mark: pytest.Mark) -> Tried:
    """What a mark says. Raises TypeError if it isn't written as it should be."""
    return Tried(*mark.args, **mark.kwargs)


def case_files() -> Iterator[tuple[Path, dict[str, Any]]]:
    """The recorded cases: each file, and what is in it."""
    for path in sorted(CASES.glob("*.toml")):
        yield path, tomllib.loads(path.read_text())


def case_mark(client: str, case: dict[str, Any]) -> pytest.MarkDecorator:
    """The mark of a recorded case."""
    return pytest.mark.client(
        client, case["endpoint"], streamed=case.get("streamed", False), missing=case.get("missing", "")
    )


def marked() -> set[Tried]:
    """All marks of all tests, read from their sources."""
    found = {tried(case_mark(file["client"], case).mark) for _, file in case_files() for case in file["case"]}
    for path in TESTS.rglob("test_*.py"):
        text = path.read_text()
        if "mark.client(" in text:
            found.update(_in(ast.parse(text)))
    return found


def _in(tree: ast.AST) -> Iterator[Tried]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.client":
            words = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
            yield Tried(*map(ast.literal_eval, node.args), **words)


def page(all_tried: Iterable[Tried], failed: Iterable[Tried] = ()) -> str:
    """The page's text."""
    everything, bad = set(all_tried), set(failed)
    files = {file["client"]: path for path, file in case_files()}
    lines = [HEAD]
    for library in sorted({each.library for each in everything}, key=str.casefold):
        lines.append(f"## {library}\n")
        if library in files:
            name = files[library].relative_to(TESTS.parent).as_posix()
            lines.append(f"Not itself, but [what it asks first](../{name}).\n")
        lines += ["| endpoint | at once | streamed |", "| --- | --- | --- |"]
        mine = [each for each in everything if each.library == library]
        for endpoint in sorted({each.endpoint for each in mine}):
            cells = [_cell([t for t in mine if (t.endpoint, t.streamed) == (endpoint, s)], bad) for s in (False, True)]
            lines.append(f"| {endpoint} | {cells[0]} | {cells[1]} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _cell(those: list[Tried], failed: set[Tried]) -> str:
    if not those:
        return "-"
    if any(each in failed for each in those):
        return "FAILED"
    whys = sorted({each.missing for each in those if each.missing})
    return f"no: {'; '.join(whys)}" if whys else "yes"
