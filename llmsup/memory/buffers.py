"""What an engine says of its own buffers: llama-server's lines "CPU KV buffer size = 45.00 MiB".

It does not know what the system says of the same process. Lines come with `--verbosity 4`; without it there are none.
"""

from __future__ import annotations

import re

from attrs import Factory, define

from ..units import Bytes

# llama.cpp src/llama-{model,context,kv-cache,memory-recurrent}.cpp: "%s: %10s %s buffer size = %8.2f MiB", behind a
# prefix that differs between builds. The bound on digits keeps a line from being more than a machine can have.
_LINE = re.compile(
    r"(\w{1,64}): +([\w.:-]{1,48}) +(model|KV|compute|output|RS) buffer size = +([0-9]{1,9}\.[0-9]{2}) MiB", re.ASCII
)
_MAPPED = "_Mapped"
"""The part of the file that is mapped and not read: the system may drop it, and read it again."""


@define
class Buffers:
    """One engine's buffers. `--fit` tries several sizes out, so that the last word on each counts."""

    _sizes: dict[tuple[str, str, str], Bytes] = Factory(dict)

    def line(self, text: str) -> None:
        """Take one line of the engine's log, whatever it is."""
        if "buffer size" in text and (match := _LINE.search(text)):
            who, device, kind, size = match.groups()
            if len(self._sizes) < 1000:
                self._sizes[who, device, kind] = Bytes(round(float(size) * 1024**2))

    @property
    def known(self) -> bool:
        """It said anything."""
        return bool(self._sizes)

    @property
    def mapped(self) -> Bytes:
        """Of the model's file, in bytes."""
        return Bytes(sum(size for (_, device, _), size in self._sizes.items() if device.endswith(_MAPPED)))

    @property
    def own(self) -> Bytes:
        """Everything else, in bytes."""
        return Bytes(sum(size for (_, device, _), size in self._sizes.items() if not device.endswith(_MAPPED)))
