"""How fast several models of one llmsup are when busy, and what other programs took of the cores meanwhile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import psutil
import trio
from attrs import Factory, define, frozen

from tools.bench_drive import Client, Failed, Request
from tools.bench_ways import Way

QUIET = 0.1
"""Cores that other programs may take in a window that counts."""

PATIENCE = 10.0
"""Seconds in which models must begin their answers: two that slow each other down take long even for that."""


@frozen
class Window:
    """Tokens/s of all the models together, and the cores that other programs took meanwhile."""

    rate: float
    others: float


@define
class Meter:
    """Measures windows.

    Attributes:
        way: The llmsup that serves the models.
        failed: What went wrong.
    """

    way: Way
    failed: list[str] = Factory(list)

    async def window(self, models: Sequence[str], seconds: float) -> Window:
        """Keep some models busy for so long, counted from when all of them have started to answer."""
        counts, begun = dict.fromkeys(models, 0), {model: trio.Event() for model in models}

        async def work(model: str) -> None:
            while True:
                try:
                    await self._stream(model, counts, begun[model])
                except Failed as error:
                    self.failed.append(str(error))
                    await trio.sleep(0.5)

        async with trio.open_nursery() as nursery:
            for model in models:
                nursery.start_soon(work, model)
            with trio.move_on_after(PATIENCE):
                for event in begun.values():
                    await event.wait()
            tokens, busy, ours, began = sum(counts.values()), _busy(), self._ours(), time.perf_counter()
            await trio.sleep(seconds)
            spent = time.perf_counter() - began
            others = (_busy() - busy) - (self._ours() - ours)
            rate = (sum(counts.values()) - tokens) / spent
            nursery.cancel_scope.cancel()
        return Window(rate, max(0.0, others / spent))

    async def _stream(self, model: str, counts: dict[str, int], begun: trio.Event) -> None:
        client = Client(self.way.address)
        asked = {"model": model, "prompt": "Tell me of the sea.", "max_tokens": 512, "stream": True, "ignore_eos": True}
        try:
            answer = await client.start(Request("/v1/completions", asked))
            try:
                while piece := await answer.body():
                    counts[model] += piece.count(b"data: ")
                    begun.set()
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 2):
                    await answer.close()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 2):
                await client.close()

    def _ours(self) -> float:
        """CPU seconds of everything that belongs to the measurement, ourselves included."""
        top = psutil.Process(self.way.pid)
        all_times = [process.cpu_times() for process in (psutil.Process(), top, *top.children(recursive=True))]
        return sum(times.user + times.system for times in all_times)


def _busy() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


@define
class Cell:
    """The measurements of one row, alone or in pairs.

    Attributes:
        quiet: The windows in which other programs took next to nothing.
        loud: All other windows.
    """

    quiet: list[Window] = Factory(list)
    loud: list[Window] = Factory(list)

    @property
    def windows(self) -> list[Window]:
        """The windows that count: the quiet ones or, if there are none, the less noisy half of the others."""
        return self.quiet or sorted(self.loud, key=lambda window: window.others)[: (len(self.loud) + 1) // 2]

    @property
    def rate(self) -> float:
        """Tokens/s, the median."""
        return median(window.rate for window in self.windows)
