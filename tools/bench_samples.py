"""The numbers as they come in, and the few ways to sum them up.

It does not know what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

from attrs import Factory, define

Sum = Callable[[Sequence[float]], float]


def p99(numbers: Sequence[float]) -> float:
    """The value that 99 in a hundred stay below, or at."""
    ordered = sorted(numbers)
    return ordered[math.ceil(0.99 * len(ordered)) - 1]


def growth(numbers: Sequence[float]) -> float:
    """How much more the last is than the first."""
    return numbers[-1] - numbers[0]


def late_growth(numbers: Sequence[float]) -> float:
    """The same, over the second half."""
    return numbers[-1] - numbers[len(numbers) // 2]


@define
class Samples:
    """Every number, by what it is and by the way it was had.

    Attributes:
        numbers: Measure, then way, then the numbers in their order.
        errors: What went wrong, by way.
    """

    numbers: dict[str, dict[str, list[float]]] = Factory(dict)
    errors: dict[str, list[str]] = Factory(dict)

    def add(self, measure: str, way: str, *numbers: float) -> None:
        """Add what was measured."""
        self.numbers.setdefault(measure, {}).setdefault(way, []).extend(numbers)

    def fail(self, way: str, errors: Sequence[str]) -> None:
        """Add what went wrong."""
        self.errors.setdefault(way, []).extend(errors)

    def sum(self, measure: str, way: str, how: Sum = median) -> float | None:
        """Sum a measure up; None where there is nothing."""
        numbers = self.numbers.get(measure, {}).get(way)
        return how(numbers) if numbers else None
