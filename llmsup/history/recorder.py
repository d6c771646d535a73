"""Collects what is to be remembered, and has a thread write it down in batches. Nobody ever waits for that."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import trio

from ..config.live import LiveConfig
from ..fleet.fleet import Fleet
from ..fleet.memory.governor import Governor
from ..fleet.model.history import HistoryEntry, What
from ..gateway.activity import KEPT, Activity, Record
from ..memory.amounts import HOST
from ..memory.policy.decision import Decision
from ..process.ring import Event
from ..units import Seconds
from .asked import Requests
from .file import HistoryFile
from .rows import Bucket, Happened, HappenedKind, Sample
from .tables import Batch

log = logging.getLogger(__name__)

NAME = "history.sqlite"
"""The file in `state_dir`."""

EVERY = 15
"""Seconds from one batch to the next, and from one sample to the next: what a crash can take."""

UNCHANGED = 300.0
"""Seconds for which a sample isn't written down while nothing changes."""

CHANGE = 1 / 200
"""The share of the machine's memory that counts as a change."""

CLOSING = 5
"""Seconds that the last batch may take."""


class History:
    """What has been.

    Attributes:
        requests: The last requests.
    """

    def __init__(
        self,
        config: LiveConfig,
        state_dir: Path,
        fleet: Fleet,
        governor: Governor,
        activity: Activity,
        as_json: Callable[[Decision], Mapping[str, Any]],
    ) -> None:
        """`as_json` words a decision."""
        self.requests = Requests(activity)
        self._config = config
        self._fleet = fleet
        self._governor = governor
        self._as_json = as_json
        self._file = HistoryFile(state_dir / NAME)
        self._thread = trio.CapacityLimiter(1)
        self._opened = trio.Event()
        self._batch = Batch()
        self._records: list[Record] = []
        self._seen = activity.finished
        self._heard = fleet.events.written
        self._last: Sample | None = None  # that was written down
        self._broken = False

    @property
    def keep(self) -> Seconds:
        """For how long it is kept; 0: nothing is."""
        return self._config.now.history.keep

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Collect and write, until cancelled; then write the rest."""
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen)
                await self._write()
                self._opened.set()
                ticks = 0
                while True:
                    await trio.sleep(1)
                    ticks += 1
                    self._collect()
                    if ticks % EVERY == 0:
                        self._sample()
                    if ticks % EVERY == 0 or len(self._records) > KEPT // 2:
                        await self._write()
        finally:
            self._opened.set()
            self._hear()
            self._collect()
            self._sample()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSING):
                await self._write()
                await trio.to_thread.run_sync(self._file.close, limiter=self._thread)

    async def ready(self) -> None:
        """Wait until the file has been read."""
        await self._opened.wait()

    async def time(self, begin: float, end: float) -> tuple[list[Sample], list[Happened], int, list[Bucket]]:
        """What was from `begin` to `end` (Unix seconds), up to this moment: samples; the last things that happened, and
        how many more there were; requests by buckets. Nothing, where nothing is kept.
        """
        self._collect()
        await self._write()
        if not self._file.is_open:
            return [], [], 0, []
        return await trio.to_thread.run_sync(self._file.time, begin, end, limiter=self._thread)

    def now(self) -> Sample:
        """Memory as it is now."""
        governor = self._governor
        machine, reading = governor.machine(), governor.reading
        loaded = governor.loaded_models()
        total = reading.total if reading is not None and reading.total is not None else machine.ceiling
        free = machine.host.available
        ours = sum(each.freeable[HOST] for each in loaded)
        return {
            "at": round(time.time(), 3),
            "models": {each.name: each.cost.total for each in loaded},
            "others": None if free is None else max(total - free - ours, 0),
            "free": free,
            "total": total,
            "pressure": machine.level,
        }

    # Collecting...

    async def _listen(self) -> None:
        """Take events as they come: the decision behind one is only found at once."""
        events = self._fleet.events
        while await events.news(self._heard):
            self._hear()

    def _hear(self) -> None:
        events = self._fleet.events
        new, self._heard = events.since(self._heard), events.written
        told = [happened for event in new if (happened := self._happened(event)) is not None]
        if told and self.keep:
            self._batch.happened += told
            self._sample()

    def _happened(self, event: Event) -> Happened | None:
        data = event.data
        name: str | None = data.get("model")
        model = self._fleet.models.get(name or "")
        match event.kind:
            case "load":
                admitted = ("admit", "evict")
                decisions = (each.decision for each in reversed(list(self._governor.records)))
                decision = next((each for each in decisions if each.model == name and each.kind in admitted), None)
                entry = None if model is None else _last(model.history.entries, "load")
                return self._row(event, "load", "loaded" if entry is None else entry.reason, decision)
            case "unload":
                entry = None if model is None else _last(model.history.entries, "unload")
                decision = None if entry is None else entry.decision
                return self._row(event, "unload", str(data["reason"]), decision)
            case "model" if data["state"] == "failed":
                return self._row(event, "fail", str(data["reason"]), None)
            case "pressure":
                return self._row(event, "pressure", f"{data['before']} to {data['level']}: {data['reason']}", None)
            case _:
                return None

    def _row(self, event: Event, kind: HappenedKind, reason: str, decision: Decision | None) -> Happened:
        told = None if decision is None else dict(self._as_json(decision))
        return {"at": event.at, "event": kind, "model": event.data.get("model"), "reason": reason, "decision": told}

    def _collect(self) -> None:
        """Take the requests that ended since the last time. Those that only looked at a model don't count."""
        activity = self.requests.activity
        new, done = activity.finished - self._seen, activity.done(self._seen)
        self._seen = activity.finished
        if self.keep:
            self._records += [record for record in done if record.meter is not None]
            self._batch.uncounted += new - len(done)

    def _sample(self) -> None:
        """Take a sample, unless it says what the last one said."""
        sample = self.now()
        if self.keep and (self._last is None or _differ(self._last, sample)):
            self._last = sample
            self._batch.samples.append(sample)

    # Writing...

    async def _write(self) -> None:
        batch, self._batch = self._batch, Batch()
        records, self._records = self._records, []
        await trio.to_thread.run_sync(self._work, batch, records, time.time(), self.keep, limiter=self._thread)

    def _work(self, batch: Batch, records: list[Record], now: float, keep: Seconds) -> None:
        """In the thread. Whatever goes wrong here, models are served."""
        file = self._file
        try:
            if not keep:
                file.close()
                return
            elsewhere = file.taken or not file.is_open
            if not file.is_open:
                file.open()
            batch.requests += [self.requests.row(record) for record in records]
            if batch:
                file.write(batch, now, keep)
            if elsewhere and not file.taken:
                self.requests.remember(file.last_requests())
        except Exception:
            if not self._broken:
                log.exception("the history isn't kept any more; nothing else is affected")
            self._broken = True
        for line in file.said:
            log.log(line.level, "%s", line.text)
        file.said.clear()


def _last(entries: Iterable[HistoryEntry], what: What) -> HistoryEntry | None:
    return next((each for each in reversed(list(entries)) if each.what == what), None)


def _differ(last: Sample, now: Sample) -> bool:
    if now["at"] - last["at"] >= UNCHANGED or now["at"] < last["at"] or last["pressure"] != now["pressure"]:
        return True
    if last["models"].keys() != now["models"].keys():
        return True
    pairs = [(last["free"], now["free"]), (last["others"], now["others"])]
    pairs += [(size, now["models"][name]) for name, size in last["models"].items()]
    return any((a is None) != (b is None) or abs((a or 0) - (b or 0)) > CHANGE * now["total"] for a, b in pairs)
