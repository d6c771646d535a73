"""What the engine of one life had to say for itself, for errors to quote.

It does not know what went wrong. What earlier engines of the model said is in the same book, and is none of it.
"""

from __future__ import annotations

import re

from ...process.logbook import LogBook
from .run import Run

LOG_TAIL = 20
"""Lines of the engine's log that an error carries."""

# llama.cpp marks a line that complains with an E. Two threads that write at once can part the mark from its words.
_COMPLAINT = re.compile(r"\bE\b\s*\S|error|fail|not found|no such|cannot|can't|unable|invalid", re.IGNORECASE)


def last_words(run: Run, book: LogBook, count: int = LOG_TAIL) -> tuple[str, ...]:
    """The last lines of this life, oldest first."""
    _, lines = book.since(run.first_line)
    return lines[max(0, len(lines) - count) :]


def first_complaint(lines: tuple[str, ...]) -> str:
    """The line that says best what went wrong: the first that complains (what follows is usually its echo), else
    the last.
    """
    said = [line for line in lines if line.strip() and not line.startswith("llmsup:")]
    complaint = next(filter(_COMPLAINT.search, said), said[-1] if said else "")
    return f"It said: {complaint.strip()}" if complaint else "It said nothing."
