"""Draws the models: as many columns as the terminal has room for."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from attrs import frozen
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ...process.lines import visible
from .. import cells
from ..bar import bar
from ..peers import doing
from .now import Now, Row

GAP = "  "
KEYS = "↑↓ choose · l load · u unload · p pin · w why · o log · / find · ? all keys"
MOST_OF_WHY = 3
"""Lines below the table."""

MOST_OF_NOTE = 5
"""Lines for what a key has led to."""

MOST_PEERS = 4
"""Lines for them; a screen of `WITHOUT_PEERS` lines has none: the models come first."""

WITHOUT_PEERS = 12

PEER_STYLES = {"up": "green", "down": "red", "asleep": "dim", "unknown": "dim"}

NARROWEST_WHY = 24
"""Columns that a reason needs to say anything."""

STYLES = {
    "failed": "red",
    "down": "red",
    "no engine": "red",
    "waiting": "yellow",
    "starting": "yellow",
    "ready": "green",
}
"""Colours of states, by their first word."""


@frozen
class Column:
    """One column.

    Attributes:
        cell: What it says of a row at a time (Unix seconds).
        right: Aligned right.
        extra: Only where there is room for it, and something in it.
    """

    title: str
    cell: Callable[[Row, float], str]
    right: bool = False
    extra: bool = False


def _of(cell: Callable[[cells.Entry], str]) -> Callable[[Row, float], str]:
    return lambda row, _now: cell(row.running) if row.running else ""


def _ttl_left(entry: cells.Entry, now: float) -> str:
    return "pinned" if entry["pinned"] else cells.ttl_left(entry, now)


COLUMNS = (
    Column("STATE", lambda row, _now: row.state),
    Column("REQUESTS", _of(cells.requests), right=True),
    Column("IDLE", lambda row, now: cells.idle(row.running, now) if row.running else "", right=True),
    Column("TTL LEFT", lambda row, now: _ttl_left(row.running, now) if row.running else "", right=True),
    Column("MEMORY", lambda row, _now: row.memory, right=True),
    Column("TOKENS/S", lambda row, _now: "" if row.speed is None else f"{row.speed:.1f}", right=True, extra=True),
    Column("PRIORITY", _of(cells.priority), extra=True),
    Column("PID", _of(cells.pid), right=True, extra=True),
    Column("LOADED IN", _of(cells.load), extra=True),
)


@frozen
class Chosen:
    """What the user has chosen.

    Attributes:
        name: The model.
        part: A part of the names that are shown.
        typing: The part is being typed.
        note: What the last key has led to.
    """

    name: str = ""
    part: str = ""
    typing: bool = False
    note: str = ""


def picture(now: Now, chosen: Chosen, where: str, width: int, height: int) -> list[Text]:
    """The screen, line by line: `height` lines of at most `width` columns. `where`: the server's URL."""
    rows = now.rows(chosen.part)
    above = [_head(now, where, width), *(Text(visible(line)) for line in bar(now.memory, width).splitlines())]
    if now.memory["nothing_unloaded"]:
        above.append(Text(visible(f"Nothing is unloaded for it: {now.memory['nothing_unloaded']}.")))
    above += _peers(now, min(MOST_PEERS, max(height - WITHOUT_PEERS, 0)))
    below = [*_why(rows, chosen.name, width), *_last(chosen, width)]
    room = max(height - len(above) - len(below) - 3, 1)
    table = _table(rows, chosen.name, now.at, width)
    first = _first(rows, chosen.name, room)
    shown = [table[0], *table[1:][first : first + room]]
    if not rows:
        shown.append(Text(f"No model's name has {visible(chosen.part)!r} in it." if chosen.part else "No models."))
    lines = [*above, Text(), *shown]
    lines += [Text()] * (height - len(lines) - len(below))
    for line in (lines := [*lines, *below][:height]):
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return lines


def _head(now: Now, where: str, width: int) -> Text:
    in_flight, waiting = (sum(entry[what] for entry in now.running) for what in ("in_flight", "waiting"))
    loaded = sum(entry["loaded_at"] is not None for entry in now.running)
    counts = f"{loaded} loaded · {in_flight} in flight" + (f" · {waiting} waiting" if waiting else "")
    left = f"llmsup · {visible(where)}"
    return Text(f"{left}{counts:>{max(width - cell_len(left), len(counts) + 2)}}", "bold")


def _peers(now: Now, most: int) -> list[Text]:
    """A line for each peer: those that don't answer, then those with requests, then the others; a few of them."""
    order = {"down": 0, "waking": 1, "asleep": 2, "unknown": 3}
    peers = sorted(now.peers, key=lambda peer: (order.get(peer["state"], 4), -peer["in_flight"]))
    if not peers or not most:
        return []
    shown = peers if len(peers) <= most else peers[: most - 1]
    wide = max((cell_len(visible(peer["name"])) for peer in shown), default=0)
    lines = []
    for peer in shown:
        line = Text(f"{set_cell_size(visible(peer['name']), wide)}  ")
        line.append(f"{peer['state']:7}", PEER_STYLES.get(peer["state"], "yellow"))
        line.append(f"  {visible(doing(peer, now.at))}")
        lines.append(line)
    if left := len(peers) - len(shown):
        count = f"… and {left} more peers" if shown else f"{left} peers"
        lines.append(Text(f"{count}; `llmsup peers` shows them", "dim"))
    return lines


def _first(rows: Sequence[Row], name: str, room: int) -> int:
    """The first row that is shown, so that the chosen one is in sight."""
    at = next((n for n, row in enumerate(rows) if row.name == name), 0)
    return max(0, min(at - room // 2, len(rows) - room))


def _table(rows: Sequence[Row], name: str, now: float, width: int) -> list[Text]:
    """The head and the rows. Names get what the other columns leave, extra columns what the names leave."""
    longest = max([len("MODEL"), *(cell_len(visible(row.name)) for row in rows)]) + 2
    columns: list[tuple[Column, list[str], int]] = []
    taken = 0
    for column in COLUMNS:
        texts = [column.title, *(visible(column.cell(row, now)) for row in rows)]
        wide = max(map(cell_len, texts))
        if not column.extra or (any(texts[1:]) and longest + taken + len(GAP) + wide <= width):
            columns.append((column, texts, wide))
            taken += len(GAP) + wide
    longest = min(longest, max(width - taken, 12))
    left = width - longest - taken - len(GAP)
    lines = []
    for n in range(len(rows) + 1):
        row = rows[n - 1] if n else None
        mark = "› " if row and row.name == name else "  "
        line = Text(mark + _cut(visible(row.name) if row else "MODEL", longest - 2), "bold" if not row else "")
        for column, texts, wide in columns:
            text = texts[n]
            style = STYLES.get(text.split(" ")[0], "") if column.title == "STATE" and row else ""
            text = " " * (wide - cell_len(text)) + text if column.right else set_cell_size(text, wide)
            line.append(GAP).append(text, style)
        if left >= NARROWEST_WHY:
            line.append(GAP).append(_end(visible(row.why) if row else "WHY", left), "dim" if row else "")
        if row and row.running is None and row.state == "-":
            line.stylize("dim")
        if mark.strip():
            line.stylize("reverse", 0, len(mark) + longest - 2)
        lines.append(line)
    return lines


def _cut(text: str, width: int) -> str:
    """A name in so many columns: what tells names apart is at both ends, so the middle goes."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    tail = width // 2
    return set_cell_size(f"{set_cell_size(text, width - tail - 1).rstrip()}…{text[len(text) - tail :]}", width)


def _end(text: str, width: int) -> str:
    return text if cell_len(text) <= width else f"{set_cell_size(text, width - 1).rstrip()}…"


def _why(rows: Sequence[Row], name: str, width: int) -> list[Text]:
    """The chosen model's name in full, and why it is in its state; a few lines."""
    row = next((row for row in rows if row.name == name), None)
    if row is None:
        return [Text()]
    state = "unloaded" if row.state == "-" else row.state
    words = visible(f"{row.name} is {state}: {row.why}." if row.why else f"{row.name} is {state}.")
    first, *more = map(Text, textwrap.wrap(words, width, max_lines=MOST_OF_WHY, placeholder="…"))
    first.stylize("bold", 0, len(visible(row.name)))
    return [first, *more]


def _last(chosen: Chosen, width: int) -> list[Text]:
    if chosen.typing:
        return [Text(f"/{visible(chosen.part)}█")]
    if chosen.note:  # what to do about an error is at its end
        lines = textwrap.wrap(visible(chosen.note), width, max_lines=MOST_OF_NOTE, placeholder="…")
        return [Text(line, "yellow") for line in lines]
    return [Text(f"names with {visible(chosen.part)!r} · {KEYS}" if chosen.part else KEYS, "dim")]
