"""What an engine logs about its buffers: llama-server's lines "CPU KV buffer size = 45.00 MiB".

The lines are only there with `--verbosity 4`.
"""

from __future__ import annotations

import re

from attrs import Factory, define

from ...units import Bytes

# llama.cpp src/llama-{model,context,kv-cache,memory-recurrent}.cpp: "%s: %10s %s buffer size = %8.2f MiB", after a
# prefix that differs between builds. The limit on digits keeps a line from claiming more than any machine has.
_LINE = re.compile(
    r"(\w{1,64}): +([\w.:-]{1,48}) +(model|KV|compute|output|RS) buffer size = +([0-9]{1,9}\.[0-9]{2}) MiB", re.ASCII
)
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
    """One engine's buffers, of all models and contexts in it: a draft model is loaded beside the main one."""

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

    @property
    def known(self) -> bool:
        """Whether it has logged any buffers."""
        return bool(self._sizes)

    @property
    def mapped(self) -> Bytes:
        """What is mapped of the model's file, in bytes."""
        return Bytes(sum(size for (_, _, device, _), size in self._sizes.items() if device.endswith(_MAPPED)))

    @property
    def own(self) -> Bytes:
        """Everything else, in bytes."""
        return Bytes(sum(size for (_, _, device, _), size in self._sizes.items() if not device.endswith(_MAPPED)))
