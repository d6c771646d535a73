"""AMD's devices, through the amdgpu driver's files under /sys.

They have no figures per process: an engine's share can't be read here.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...units import Bytes
from .files import Read, number, read_file
from .reading import Gpu

CARDS = Path("/sys/class/drm")

_CARD = re.compile(r"card[0-9]{1,4}")  # "card0-HDMI-A-1" is a connector of it


def cards(root: Path = CARDS) -> tuple[Path, ...]:
    """The directories of the devices whose driver reports their memory."""
    try:
        found = sorted(path for path in root.iterdir() if _CARD.fullmatch(path.name))
    except OSError:
        return ()
    return tuple(card / "device" for card in found if read_file(card / "device" / "mem_info_vram_total"))


def gpu(device: Path, read: Read = read_file) -> Gpu:
    """One device. GTT is host memory that it may use; on an APU most of a model is there.

    Linux Documentation/gpu/amdgpu/driver-misc.rst, "GPU Memory Usage Information"; all are bytes.
    """
    total, free = _pool(device, "vram", read)
    shared_total, shared_free = _pool(device, "gtt", read)
    name = read(device / "product_name").decode(errors="replace").strip() or device.parent.name
    return Gpu(name, total, free, shared_total, shared_free, source=f"{device}/mem_info_*")


def _pool(device: Path, pool: str, read: Read) -> tuple[Bytes | None, Bytes | None]:
    total, used = (number(read(device / f"mem_info_{pool}_{what}")) for what in ("total", "used"))
    if not total:
        return None, None
    return Bytes(total), None if used is None else Bytes(max(total - used, 0))
