"""The memory monitor: takes readings of the machine all the time, and announces the pressure level.

What is done about the level is up to the governor (`fleet.memory`).
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import trio

from ...config.live import LiveConfig
from ...config.schema import Memory
from ...engines.devices import list_devices, working_set
from ...errors import SetupError
from ...process.ring import Events
from ...process.watched import Watched
from ...units import Bytes, format_bytes, format_seconds
from ..amounts import CEILING, HOST_CEILING
from ..policy.inputs import Machine, Pool, host_pools
from .gauge import Gauge, Pressure, higher
from .limits import ceiling, machine_total, reserve
from .psi import Waker, open_waker
from .reading import Reading, device_pool
from .sampler import Sampler

log = logging.getLogger(__name__)

GOOD_FOR = 10.0
"""Seconds for which a reading stays valid if there is no newer one."""

PROBES_APART = 1.0
"""Seconds between fresh readings on request, where taking one means running a process."""

HURRY = 5
"""How many readings are taken in the time of one while anything indicates pressure, or memory falls so fast that it
would be gone within `SOON` readings.
"""

SOON = 3


class MemoryMonitor(Watched):
    """The current state of the machine's memory.

    Attributes:
        working_set: What a GPU that shares the host's memory may wire of it, in bytes; None: unknown, or no such GPU.
        pressure: The pressure level, and why.
    """

    def __init__(
        self,
        config: LiveConfig,
        sampler: Sampler,
        events: Events,
        *,
        pressure_file: Path | None = None,
        total: Callable[[], Bytes] = machine_total,
    ) -> None:
        """`pressure_file`: lets the kernel wake us (`psi`); `total`: how much memory there is, if no reading says."""
        super().__init__()
        self.working_set: Bytes | None = None
        self._config = config
        self._problem = ""
        self._sampler = sampler
        self._events = events
        self._gauge = Gauge()
        self._pressure_file = pressure_file
        self._last: tuple[float, Reading] | None = None
        self._looking = trio.Lock()
        self._looks = 0  # how many readings were started
        self._done = 0  # the number of the last completed one ...
        self._done_from = -math.inf  # ... and when it was started
        self._total = total()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take a reading every `interval`, and when the kernel wakes us, until cancelled. Reports started after the
        first one.
        """
        await self.fresh()
        task_status.started()
        with open_waker(self._pressure_file) if self._pressure_file else nullcontext(Waker()) as waker:
            while True:
                with trio.move_on_after(self._pause):
                    await waker.wait()
                await self._look()

    @property
    def _pause(self) -> float:
        interval = self.settings.interval
        hurries = self.settings.probe == "auto" and (self.pressure.shortfall or self._gauge.gone_in < SOON * interval)
        return interval / HURRY if hurries else interval

    # For others...

    @property
    def settings(self) -> Memory:
        """[memory] of the config in force."""
        return self._config.now.memory

    @property
    def pressure(self) -> Pressure:
        """See the class."""
        return self._gauge.pressure

    @property
    def problem(self) -> str:
        """Why the machine can't be read at the moment, or ""."""
        return self._problem

    @property
    def reading(self) -> Reading | None:
        """The last reading, unless it is too old."""
        if self._last is None or trio.current_time() - self._last[0] > GOOD_FOR:
            return None
        return self._last[1]

    @property
    def lags(self) -> bool:
        """Whether memory is only freed some time after the process that had it ended: a GPU's, a Mac's, and where a
        probe is used.
        """
        # What a probe reports may be anywhere, in a driver or on another host. Only its readings show when it is back.
        probed = self.settings.probe != "auto"
        return probed or sys.platform == "darwin" or bool(self._last and self._last[1].gpus)

    def machine(self, now: float) -> Machine:
        """The machine as the policy sees it, each device with its own memory as a pool. What can't be read is left out:
        then only the models' costs decide.
        """
        reading = self.reading
        most = ceiling(self.settings, self.total, self.gpu_limit, own_group=self.own_group)
        host = host_pools(
            ceiling=most,
            reserve=self.reserve,
            available=None if reading is None else reading.available,
        )
        gpus = enumerate((reading and reading.gpus) or ())
        devices = {device_pool(number): Pool(gpu.total, gpu.free) for number, gpu in gpus if gpu.own}
        if devices and self.settings.limit == "auto":
            # What follows from the host's size bounds what is in the host: a small one may have a large GPU.
            everywhere = most + sum(pool.total or 0 for pool in devices.values())
            host |= {CEILING: Pool(total=everywhere), HOST_CEILING: Pool(total=most)}
        return Machine(
            host | devices,
            level=self.pressure.level,
            now=now,
            since=self.pressure.since,
        )

    @property
    def total(self) -> Bytes:
        """How much memory there is, in bytes."""
        reading = None if self._last is None else self._last[1]
        return self._total if reading is None or reading.total is None else reading.total

    def device_sizes(self) -> dict[str, int]:
        """What each device with its own memory has, in bytes, by its pool."""
        gpus = enumerate((self.reading and self.reading.gpus) or ())
        return {device_pool(number): gpu.total for number, gpu in gpus if gpu.total}

    @property
    def own_group(self) -> bool:
        """Whether that is the limit of our own control group."""
        return self._last is not None and self._last[1].own_group

    @property
    def reserve(self) -> Bytes:
        """What is kept free for everything else, in bytes."""
        return reserve(self.settings, self.total, own_group=self.own_group)

    @property
    def gpu_limit(self) -> Bytes | None:
        """Bytes of the host's memory that its GPU may wire: the limit set by the user, else the system's."""
        reading = None if self._last is None else self._last[1]
        return (reading.gpu_limit if reading else None) or self.working_set

    def oom_kills(self) -> int | None:
        """How many processes the system has killed for lack of memory so far: its own count, whatever a probe says."""
        return self._sampler.system().oom_kills

    async def fresh(self) -> Reading | None:
        """A reading started after this call, so that whatever happened before it is included; concurrent callers share
        one. None if that fails and the last reading is too old.
        """
        begun = self._looks
        if self.settings.probe != "auto":
            await trio.sleep_until(self._done_from + min(PROBES_APART, self.settings.interval))
        await self._look(after=begun)
        return self.reading

    async def learn_working_set(self, llama_server: Sequence[str]) -> None:
        """Ask a llama-server what a Mac's GPU may wire; until it has answered, and if it can't, only the memory itself
        limits the ceiling.
        """
        try:
            self.working_set = working_set(await list_devices(llama_server, inheritance=self._sampler.inheritance))
        except SetupError as error:
            log.warning("how much memory the GPU may wire is unknown: %s", error)

    # Taking readings...

    async def _look(self, *, after: float = math.inf) -> None:
        """`after`: skip this reading if one with a higher number has completed by the time it is our turn."""
        async with self._looking:
            if self._done > after:
                return
            self._looks += 1
            number, began = self._looks, trio.current_time()
            try:
                reading = await self._sampler.read(self.settings.probe)
            except SetupError as error:
                self._done, self._done_from = number, began
                self._unread(error)
                return
            self._done, self._done_from = number, began
            now = trio.current_time()
            if self._problem:
                log.info("the machine's memory can be read again")
            self._problem = ""
            self._last = now, reading
            gauge = self._gauge.look(reading, now, self.reserve, every=self.settings.interval)
            self._gauge_is(gauge)

    def _unread(self, error: SetupError) -> None:
        if not self._problem:
            log.warning(
                "%s The last reading counts for %s; after that models are admitted by their own cost alone.",
                error,
                format_seconds(GOOD_FOR),
            )
        self._problem = str(error)
        if self.reading is None:
            self._gauge_is(self._gauge.unread(trio.current_time()))

    def _gauge_is(self, gauge: Gauge) -> None:
        before, self._gauge = self._gauge.pressure, gauge
        pressure = gauge.pressure
        if pressure.level != before.level:
            worse = higher(pressure.level, before.level)
            reason = pressure.reason or "enough is free again"
            log.log(
                logging.WARNING if worse else logging.INFO,
                "memory pressure: %s -> %s: %s",
                before.level,
                pressure.level,
                reason,
            )
            self._events.write(
                "pressure",
                before=before.level,
                level=pressure.level,
                reason=reason,
                shortfall_bytes=pressure.shortfall,
            )
        self.notify()

    def __repr__(self) -> str:
        reading = self.reading
        there = "unknown" if reading is None or reading.available is None else format_bytes(reading.available)
        return f"<MemoryMonitor {self.pressure.level}, {there} available of {format_bytes(self.total)}>"
