"""What one running engine costs, by its own log and by the system's accounting.

What is reserved for it is in the ledger (`fleet.memory`); what earlier runs cost, in `store`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import Factory, define, field

from ...units import Bytes
from ..amounts import ZERO, Amounts, add_up
from .process import Footprint

# llama.cpp src/llama-{model,context,kv-cache,memory-recurrent}.cpp: "%s: %10s %s buffer size = %8.2f MiB", after a
# prefix that differs between builds. The limit on digits keeps a line from claiming more than any machine has.
_LINE = re.compile(
    r"(\w{1,64}): +([\w.:-]{1,48}(?:\[[\w.:\[\]-]{1,128}\])?) +(model|KV|compute|output|RS) buffer size"
    r" = +([0-9]{1,9}\.[0-9]{2}) MiB",
    re.ASCII,
)
_REMOTE = re.compile(r"\w+\[(.+)\]")
"""ggml-rpc.cpp: a buffer of a worker's device is called "RPC0[127.0.0.1:50052]"."""

_MAPPED = "_Mapped"
"""The part of the file that is mapped instead of read: the system may drop it and read it again."""

_MADE_ANEW = ("compute", "output")
"""Kinds that a context may reallocate, so the last line counts. Several buffers of the other kinds may share a name and
add up: a cache for the layers with a window and one for those without are both a `llama_kv_cache`.
"""

_PROBE = re.compile(r"print_info: no_alloc += ([01])\b")
"""llama.cpp src/llama-model.cpp: whether a model is only inspected, as `--fit` does, without allocating anything."""

_MODEL, _CONTEXT, _AGAIN = "loaded meta data with", "constructing llama_context", "load_model: loading model"


@define
class Buffers:
    """One engine's buffers, as llama-server logs them with `--verbosity 4`: "CPU KV buffer size = 45.00 MiB". They are
    of all models and contexts in it: a draft model is loaded beside the main one.
    """

    _sizes: dict[tuple[int, str, str, str], Bytes] = Factory(dict)
    _part: int = 0  # a model's weights, or one context
    _probing: bool = False

    def line(self, text: str) -> None:
        """Take one line of the engine's log, whatever it is."""
        if "buffer size" in text:
            if not self._probing and (match := _LINE.search(text)):
                self._take(*match.groups())
        elif _MODEL in text or _CONTEXT in text:
            self._part += 1
        elif match := _PROBE.search(text):
            self._probing = match[1] == "1"
        elif _AGAIN in text:  # first load, or after sleeping (--sleep-idle-seconds), which frees everything
            self._sizes.clear()
            self._probing = False

    def _take(self, who: str, device: str, kind: str, mib: str) -> None:
        key, size = (self._part, who, device, kind), Bytes(round(float(mib) * 1024**2))
        if kind not in _MADE_ANEW:
            size = Bytes(size + self._sizes.get(key, 0))
        if len(self._sizes) < 1000 or key in self._sizes:
            self._sizes[key] = size

    def __bool__(self) -> bool:
        """Whether the log has told of any."""
        return bool(self._sizes)

    @property
    def mode(self) -> str:
        """How the weights were loaded: "mmap" if some are mapped, else "read"; "" if the log doesn't say."""
        weights = [device for _, _, device, kind in self._sizes if kind == "model"]
        return ("mmap" if self.mapped else "read") if weights else ""

    @property
    def mapped(self) -> Bytes:
        """What is mapped of the model's file, in bytes."""
        return Bytes(sum(size for (_, _, device, _), size in self._sizes.items() if device.endswith(_MAPPED)))

    def on(self, pools: Mapping[str, str]) -> Amounts:
        """What is on devices. `pools`: theirs, by the names in its log."""
        found = ((pools[device], size) for (_, _, device, _), size in self._sizes.items() if device in pools)
        return add_up(Amounts({pool: size}) for pool, size in found)

    @property
    def remote(self) -> dict[str, int]:
        """What is on RPC workers, in bytes, by their addresses; a worker may have several devices."""
        sizes: dict[str, int] = {}
        for (_, _, device, _), size in self._sizes.items():
            if match := _REMOTE.fullmatch(device):
                sizes[match[1]] = sizes.get(match[1], 0) + size
        return sizes

    @property
    def own(self) -> Bytes:
        """Everything else, in bytes."""
        return Bytes(sum(size for (_, _, device, _), size in self._sizes.items() if not device.endswith(_MAPPED)))


@define
class Meter:
    """The highest values measured in one run: the prompt cache makes an engine grow, and what it took once it may take
    again.

    There are two parts. Its *own* memory (anonymous, shared, swapped, compressed, and on a GPU) is only freed when it
    ends. What it has *mapped* of its file the system may drop, but the model needs it all the same: it counts under
    the ceiling, and ending the engine doesn't free it.

    Attributes:
        buffers: What its log says.
        file: What it should have mapped of its file, in bytes: counts where neither its log nor the system says.
        private: Its weights are read or locked: whatever the system calls files of it can't be dropped.
        pools: Which of its devices has which memory of its own, by the names in its log.
        workers: The pools of its RPC workers, by their addresses. Only its log tells what it has there.
        devices: What it has on devices with their own memory, by their pools, at the last measurement.
    """

    buffers: Buffers = Factory(Buffers)
    file: int = 0
    private: bool = False
    pools: Mapping[str, str] = Factory(dict)
    workers: Mapping[str, str] = Factory(dict)
    devices: Amounts = field(default=ZERO, init=False)
    _own: int = field(default=0, init=False)
    _mapped: int | None = field(default=None, init=False)
    _most_mapped: int = field(default=0, init=False)
    _now: Bytes | None = field(default=None, init=False)
    _at_start: Bytes | None = field(default=None, init=False)

    def line(self, text: str) -> None:
        """Process a line of its log."""
        self.buffers.line(text)

    def saw(self, footprint: Footprint, devices: Amounts | None = None) -> None:
        """Record a measurement.

        Args:
            devices: What it has on devices with their own memory; None: as much as before. Where a driver doesn't tell
                (NVML in a container knows other numbers of processes, and on some systems no sizes), its log counts.
        """
        if devices is not None:
            told = self.buffers.on(self.pools)
            self.devices = devices + Amounts({pool: told[pool] for pool in told if not devices[pool]})
        if self.workers:
            self.devices = self.devices - self.devices.within(self.workers.values()) + self._away
        files = footprint.droppable
        held = footprint.held + (files or 0 if self.private else 0)
        self._now = Bytes(held + self.devices.total)
        self._own = max(self._own, self._now)
        if files is not None:
            self._mapped = 0 if self.private else files
            self._most_mapped = max(self._most_mapped, self._mapped)

    @property
    def _away(self) -> Amounts:
        """What it has on RPC workers, by its log."""
        told = self.buffers.remote
        return Amounts({pool: told.get(address, 0) for address, pool in self.workers.items()})

    @property
    def freeable(self) -> Bytes | None:
        """What ending it would free, in bytes, at the last measurement; None: not measured yet."""
        return self._now

    def gives_back(self, declared: int | None) -> Bytes | None:
        """What ending it frees, in bytes; None: not measured yet.

        Args:
            declared: What its config table says it takes, in bytes. Any part of that which isn't measured here must be
                elsewhere (in a container, on a server that its command only talks to) and is assumed to be freed too.
        """
        if self._now is None or self.cost is None:
            return None
        return Bytes(self._now + max((declared or 0) - self.cost, 0))

    @property
    def cost(self) -> Bytes | None:
        """What it counts for under the ceiling now, in bytes; None: not measured yet.

        The system's accounting divides a file that two engines have mapped between them.
        """
        if self._now is None:
            return None
        mapped = self._told_mapped if self._mapped is None else self._mapped
        return Bytes(self._most_own + mapped)

    @property
    def peak(self) -> Bytes | None:
        """What it takes when no other engine shares its file, in bytes: for the next run. None: not measured yet."""
        if self._now is None:
            return None
        return Bytes(self._most_own + max(self._told_mapped, self._most_mapped))

    def started(self) -> None:
        """Record that it is ready: the values so far are what it takes at its start. Only the first call counts."""
        if self._at_start is None:
            self._at_start = self.peak

    def start(self, prompts: int) -> Bytes | None:
        """What its next start is going to take, in bytes; None: it was not measured after it became ready.

        An engine that takes more once it is used (an image generator, for example) is expected to do so again; what
        may be cached prompts is not counted.

        Args:
            prompts: How many bytes of cached prompts it may have.
        """
        if self._at_start is None or self.peak is None:
            return None
        return max(self._at_start, Bytes(self.peak - prompts))

    @property
    def _told_mapped(self) -> int:
        """What it has mapped by its log; where that has no buffers at all and the system doesn't say: what it should
        have mapped.
        """
        if self.private:
            return 0
        return self.buffers.mapped if self.buffers or self._mapped is not None else self.file

    @property
    def _most_own(self) -> int:
        # Untouched pages may still be used later, so the engine's own figure counts if it is higher.
        return max(self._own, self.buffers.own + (self.buffers.mapped if self.private else 0))
