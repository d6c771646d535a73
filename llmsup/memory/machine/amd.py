"""AMD's devices, through the amdgpu driver's files under /sys, and what a process uses of them, through those under
/proc.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from ...units import Bytes
from .files import Read, number, read_file
from .reading import Gpu

CARDS = Path("/sys/class/drm")
PROCESSES = Path("/proc")

_PLACE = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
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
    return Gpu(name, total, free, shared_total, shared_free, source=f"{device}/mem_info_*", id=place_of(device))


def place_of(device: Path) -> str:
    """Its place on the PCI bus, "0000:03:00.0"; "" if that can't be told."""
    name = os.path.basename(os.path.realpath(device))
    return name if _PLACE.fullmatch(name) else ""


def used_by(pids: Collection[int], devices: Collection[Path], root: Path = PROCESSES) -> tuple[Bytes, ...]:
    """What some processes use together of each device's own memory, in bytes; 0 where that can't be read.

    Linux Documentation/gpu/drm-usage-stats.rst: each file that is open on a device tells what its client has. Several
    files, and several processes after a fork, may be one client's.
    """
    clients: dict[tuple[str, str], int] = {}
    for pid in pids:
        for text in _open_on_devices(root / str(pid)):
            said = dict(_SAID.findall(text))
            place, client = said.get("pdev", ""), said.get("client-id", "")
            size = max((_size(said.get(key, "")) for key in ("resident-vram", "memory-vram")), default=0)
            clients[place, client] = max(clients.get((place, client), 0), size)
    places = [place_of(device) for device in devices]
    return tuple(Bytes(sum(size for (at, _), size in clients.items() if at == place != "")) for place in places)


_SAID = re.compile(r"^drm-([\w-]{1,64}):[ \t]+(\S[^\n]{0,63})$", re.MULTILINE | re.ASCII)
_MOST_FILES = 10_000


def _open_on_devices(process: Path) -> Iterator[str]:
    """What the kernel says of each file that a process has open on a device for drawing."""
    try:
        names = os.listdir(process / "fd")[:_MOST_FILES]
    except OSError:
        return
    for name in names:
        try:
            is_device = os.readlink(process / "fd" / name).startswith("/dev/dri/")
        except OSError:
            continue
        if is_device:
            yield read_file(process / "fdinfo" / name).decode(errors="replace")


def _size(text: str) -> int:
    """Bytes of "1024 KiB"; without a unit they are bytes."""
    count, _, unit = text.partition(" ")
    if not (count.isascii() and count.isdigit() and len(count) < 16):
        return 0
    return int(count) * {"": 1, "KiB": 1024, "MiB": 1024**2}.get(unit.strip(), 0)


def _pool(device: Path, pool: str, read: Read) -> tuple[Bytes | None, Bytes | None]:
    total, used = (number(read(device / f"mem_info_{pool}_{what}")) for what in ("total", "used"))
    if not total:
        return None, None
    return Bytes(total), None if used is None else Bytes(max(total - used, 0))
