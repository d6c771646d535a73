"""Collects the benchmarks' numbers, and summarises them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

from attrs import Factory, define

Sum = Callable[[Sequence[float]], float]


def p99(numbers: Sequence[float]) -> float:
    """The 99th percentile."""
    ordered = sorted(numbers)
    return ordered[math.ceil(0.99 * len(ordered)) - 1]


def growth(numbers: Sequence[float]) -> float:
    """The last value minus the first."""
    return numbers[-1] - numbers[0]


def late_growth(numbers: Sequence[float]) -> float:
    """The same, over the second half."""
    return numbers[-1] - numbers[len(numbers) // 2]


def surely_above(numbers: Sequence[float]) -> float:
    """The lower end of the median's 95% confidence interval, whatever the distribution: an order statistic."""
    return _bounds(numbers)[0]


def surely_below(numbers: Sequence[float]) -> float:
    """The upper end."""
    return _bounds(numbers)[1]


def _bounds(numbers: Sequence[float]) -> tuple[float, float]:
    """How many of `n` numbers lie below the median is binomial: n/2, and at most 0.98 √n off in 95% of all cases. With
    fewer than six numbers even the smallest and the largest are no such bounds.
    """
    ordered, count = sorted(numbers), len(numbers)
    rank = math.floor(count / 2 - 0.98 * math.sqrt(count)) if count > 5 else 0
    return (ordered[max(rank - 1, 0)], ordered[min(count - rank, count - 1)]) if count > 5 else (-math.inf, math.inf)


@define
class Samples:
    """All numbers, by measure and by way.

    Attributes:
        numbers: By measure, then by way, in order.
        errors: What went wrong, by way.
    """

    numbers: dict[str, dict[str, list[float]]] = Factory(dict)
    errors: dict[str, list[str]] = Factory(dict)

    def add(self, measure: str, way: str, *numbers: float) -> None:
        """Add numbers."""
        self.numbers.setdefault(measure, {}).setdefault(way, []).extend(numbers)

    def fail(self, way: str, errors: Sequence[str]) -> None:
        """Add an error."""
        self.errors.setdefault(way, []).extend(errors)

    def sum(self, measure: str, way: str, how: Sum = median) -> float | None:
        """Summarise a measure; None if there are no numbers."""
        numbers = self.numbers.get(measure, {}).get(way)
        return how(numbers) if numbers else None
