"""What was measured of next turns after an unload (`bench_back_turns`), and its table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from attrs import Factory, define, frozen

SHARE = 0.15
"""Of the computing of a cold prompt: what a restored turn may take on top of its load."""


@frozen
class Turn:
    """One answer.

    Attributes:
        first: Seconds until its first word.
        text: All of it.
        prompt: How many tokens it had to read.
        cached: How many of those the engine had.
    """

    first: float
    text: str
    prompt: int
    cached: int


@define
class Measured:
    """The next turns of conversations of one size, one each round.

    Attributes:
        never: Of a model that was never unloaded.
        restored: After an unload.
        cold: After an unload, without a prompt cache.
        loads: Seconds of the restored turns' loads, in which nothing of restoring is.
        cold_loads: Of the cold turns'.
        unloads: Seconds of the unloads that save.
        written: Bytes written for one turn.
    """

    size: int
    never: list[Turn] = Factory(list)
    restored: list[Turn] = Factory(list)
    cold: list[Turn] = Factory(list)
    loads: list[float] = Factory(list)
    cold_loads: list[float] = Factory(list)
    unloads: list[float] = Factory(list)
    written: list[int] = Factory(list)

    @property
    def computing(self) -> float:
        """Seconds that a cold turn takes without its load."""
        return median(turn.first - load for turn, load in zip(self.cold, self.cold_loads, strict=True))

    @property
    def above(self) -> float:
        """Seconds that a restored turn takes without its load."""
        return median(turn.first - load for turn, load in zip(self.restored, self.loads, strict=True))

    @property
    def same(self) -> int:
        """How many restored turns had the text of the ones never unloaded."""
        return sum(one.text == other.text for one, other in zip(self.restored, self.never, strict=True))


def table(rows: Sequence[Measured]) -> Iterator[str]:
    """Medians as lines of a table, and whether the target is met."""
    yield "tokens   never   load  restored    cold      cached, of each  MB/turn  unload  same text"
    for row in rows:
        never, back, cold = (median(turn.first for turn in turns) for turns in (row.never, row.restored, row.cold))
        cached = " ".join(str(round(median(t.cached for t in turns))) for turns in (row.never, row.restored, row.cold))
        yield (
            f"{row.cold[0].prompt:6}{never:8.2f}{median(row.loads):7.2f}{back:10.2f}{cold:8.2f}{cached:>21}"
            f"{median(row.written) / 1e6:9.0f}{median(row.unloads):8.2f}  {row.same} of {len(row.never)}"
        )
    for row in rows:
        share = row.above / row.computing
        word = "met" if share <= SHARE else "missed"
        yield f"{row.size}: a restored turn takes its load and {share:.1%} of a cold one's computing: {word}"
    yield "Seconds to the first word, medians; what was saved and the weights are in the page cache."
