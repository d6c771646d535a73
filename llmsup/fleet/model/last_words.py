"""The last lines that the engine of one run wrote, for errors to quote.

Earlier engines of the model wrote into the same log book; their lines are left out.
"""

from __future__ import annotations

import re

from ...errors.engine import SAID
from ...process.logbook import LogBook
from .run import Run

LOG_TAIL = 20
"""Lines of the engine's log that an error carries."""

# llama.cpp marks an error line with an E. Two threads that write at once can separate the mark from its message.
_COMPLAINT = re.compile(r"\bE\b\s*\S|error|fail|not found|no such|cannot|can't|unable|invalid", re.IGNORECASE)


def last_words(run: Run, book: LogBook, count: int = LOG_TAIL) -> tuple[str, ...]:
    """The last lines of this run, oldest first."""
    _, lines = book.after(run.first_line)
    return lines[max(0, len(lines) - count) :]


def first_complaint(lines: tuple[str, ...]) -> str:
    """The line that best says what went wrong: the first complaint (those after it usually repeat it), else the last
    line.
    """
    said = [line for line in lines if line.strip() and not line.startswith("llmsup:")]
    complaint = next(filter(_COMPLAINT.search, said), said[-1] if said else "")
    return f"{SAID}{complaint.strip()}" if complaint else "It said nothing."
