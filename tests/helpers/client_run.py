"""Pytest's part of docs/clients.md: what the marked tests came to, and the page that follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import client_page
import pytest
from attrs import asdict


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--clients-page", type=Path, help="write the page of what the marked tests tried (tools/clients)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's properties come with its reports, also from another process."""
    for item in items:
        for mark in item.iter_markers("client"):
            item.user_properties.append(("client", asdict(client_page.tried(mark))))


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--clients-page"):
        config.pluginmanager.register(_Page(path))


class _Page:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._tried: set[client_page.Tried] = set()
        self._failed: set[client_page.Tried] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        values: list[Any] = [value for name, value in report.user_properties if name == "client"]
        those = {client_page.Tried(**value) for value in values}
        if report.failed:
            self._failed |= those
        elif report.when == "call" and report.passed:
            self._tried |= those

    def pytest_sessionfinish(self) -> None:
        self._path.write_text(client_page.page(self._tried | self._failed, self._failed))
