"""Pages over the table: why a model is in its state, and log lines."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence
from typing import Protocol

from attrs import define, field, frozen
from rich.text import Text

from ...process.lines import visible
from ..client import Client, model_path
from ..logs import recent
from ..why import candidates, history, last_decision, state_lines

LOG_LINES = 2000


class Source(Protocol):
    """What a page shows."""

    @property
    def title(self) -> str:
        """The page's first line."""

    def lines(self, client: Client, width: int) -> list[str]:
        """Ask the server. Raises Error."""


@frozen
class Why:
    """As `llmsup why` has it."""

    name: str

    @property
    def title(self) -> str:
        """The page's first line."""
        return f"why {self.name}"

    def lines(self, client: Client, width: int) -> list[str]:
        """Ask the server. Raises Error."""
        answer, now = client.get(model_path("/memory", self.name)), time.time()
        lines = [part for line in state_lines(answer, now) for part in textwrap.wrap(visible(line), width)]
        if past := answer["history"]:
            lines += ["", *history(past, now, answer["model"]).as_text(width).splitlines()]
        if (last := last_decision(answer)) and last["weighed"]:
            told = ["", "The models that were considered when memory was last short:", ""]
            lines += [*told, *candidates(last).as_text(width).splitlines()]
        return lines


@frozen
class Log:
    """Recent lines of a model's engine, or (None) of all and of llmsup."""

    name: str | None

    @property
    def title(self) -> str:
        """The page's first line."""
        return f"log of {self.name}" if self.name else "log"

    def lines(self, client: Client, width: int) -> list[str]:
        """Ask the server. Raises Error."""
        return [part for line in recent(client, self.name, LOG_LINES) for part in _folded(visible(line), width)]


@frozen
class Help:
    """Which keys there are."""

    title = "keys"

    def lines(self, client: Client, width: int) -> list[str]:  # noqa: ARG002 -- they are known
        """Return the part of the command's help."""
        from .command import command

        text = textwrap.dedent(command.help or "").partition("Keys:\n")[2].partition("\n\n")[0]
        return [line.removeprefix("  ") for line in text.splitlines()]


@define
class Page:
    """What is shown of a source, and how far it is scrolled.

    Attributes:
        first: The first line in sight; None: the end is in sight, and stays so as lines come.
    """

    source: Source
    first: int | None
    lines: Sequence[str] = field(factory=list)
    error: str = ""

    @classmethod
    def why(cls, name: str) -> Page:
        """Why a model is in its state."""
        return cls(Why(name), 0)

    @classmethod
    def log(cls, name: str | None) -> Page:
        """Log lines, the newest in sight."""
        return cls(Log(name), None)

    @classmethod
    def help(cls) -> Page:
        """Which keys there are."""
        return cls(Help(), 0)

    def scroll(self, key: str, height: int) -> None:
        """Move by a key, on a screen of so many lines."""
        room = _room(height)
        end = max(len(self.lines) - room, 0)
        at = end if self.first is None else min(self.first, end)
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -room, "page down": room, "home": -at, "end": end}
        at = max(0, at + steps.get(key, 0))
        self.first = None if at >= end and (self.first is None or key in ("end", "down", "j", "page down")) else at

    def picture(self, width: int, height: int) -> list[Text]:
        """The screen, line by line."""
        room = _room(height)
        end = max(len(self.lines) - room, 0)
        first = end if self.first is None else min(self.first, end)
        lines = [Text(visible(self.source.title), "bold"), Text()]
        lines += [Text(line) for line in self.lines[first : first + room]]
        lines += [Text()] * (height - 1 - len(lines))
        seen = f"lines {first + 1}–{min(first + room, len(self.lines))} of {len(self.lines)} · " if self.lines else ""
        lines.append(
            Text(visible(self.error), "yellow") if self.error else Text(f"{seen}↑↓ scroll · q, Esc back", "dim")
        )
        for line in lines:
            line.no_wrap = True
            line.truncate(width, overflow="ellipsis")
        return lines


def _room(height: int) -> int:
    return max(height - 3, 1)


def _folded(line: str, width: int) -> list[str]:
    return [line[n : n + width] for n in range(0, len(line), width)] or [""]
