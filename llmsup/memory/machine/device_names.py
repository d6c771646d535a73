"""Which pool is the memory of the device that an engine calls "CUDA0", "ROCm1" or "Vulkan0".

An engine names devices by its backend, in the order of that backend, and without those that the environment hides; the
pools are numbered as the drivers list them. An engine that can be asked says each device's name and size besides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ...engines.devices import Device
from . import nvidia
from .reading import Gpu, device_pool

_ID = re.compile(r"([A-Za-z]+)[0-9]*")
_VENDORS: Mapping[str, tuple[str, ...]] = {
    "CUDA": ("nvidia",),
    "ROCm": ("amd",),
    "HIP": ("amd",),
    "Vulkan": ("nvidia", "amd"),
    "OpenCL": ("nvidia", "amd"),
    "SYCL": ("nvidia", "amd"),
    "WebGPU": ("nvidia", "amd"),
}
_HIDING: Mapping[str, tuple[str, ...]] = {
    "nvidia": ("CUDA_VISIBLE_DEVICES",),
    # one after the other: the driver's runtime, then HIP, which takes CUDA's variable, too, if its own isn't set
    "amd": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES|CUDA_VISIBLE_DEVICES"),
}

NEARLY = 0.1
"""Share by which two figures for the size of one device may differ: drivers keep something for themselves."""


def pools_by_name(listed: Sequence[Device] | None, gpus: Sequence[Gpu], environ: Mapping[str, str]) -> dict[str, str]:
    """The pool of each device with its own memory, by the engine's name for it, in the engine's order.

    Args:
        listed: What the engine lists; None: it can't be asked, so that the order of the drivers counts.
        gpus: The devices as their drivers tell them.
        environ: The engine's environment.
    """
    seen = {vendor: _visible(vendor, gpus, environ) for vendor in _HIDING}
    if listed is None:
        names = (("CUDA", "nvidia"), ("ROCm", "amd"))
        return {f"{name}{n}": device_pool(at) for name, vendor in names for n, at in enumerate(seen[vendor])}
    found = dict[str, str]()
    taken = dict[str, set[int]]()  # by backend: two of them may list one device
    for device in listed:
        match = _ID.fullmatch(device.id)
        backend = match[1] if match else ""
        near = [at for vendor in _VENDORS.get(backend, ()) for at in seen[vendor]]
        used = taken.setdefault(backend, set())
        if (at := _same(device, [at for at in near if at not in used], gpus)) is not None:
            used.add(at)
            found[device.id] = device_pool(at)
    return found


def pools_of(names: Sequence[str] | None, by_name: Mapping[str, str]) -> tuple[str, ...]:
    """The pools of some devices, each once, in their order; without names, those of all.

    A device without memory of its own has none.
    """
    wanted = by_name if names is None else [name for name in names if name in by_name]
    return tuple(dict.fromkeys(by_name[name] for name in wanted))


def _same(device: Device, places: Sequence[int], gpus: Sequence[Gpu]) -> int | None:
    """Which of these it is: one of its name, else one of its size. Of several that are alike, the first."""
    if device.total is None:
        return None
    called = [at for at in places if gpus[at].name == device.name]
    sized = [at for at in places if abs((gpus[at].total or 0) - device.total) <= device.total * NEARLY]
    both = [at for at in called if at in sized]
    return next(iter((*both, *called, *sized)), None)


def _visible(vendor: str, gpus: Sequence[Gpu], environ: Mapping[str, str]) -> list[int]:
    """The places of a vendor's devices with own memory that the environment doesn't hide, in the engine's order."""
    places = [at for at, gpu in enumerate(gpus) if _vendor(gpu) == vendor]
    for variables in _HIDING[vendor]:
        text = next((environ[name] for name in variables.split("|") if name in environ), None)
        if text is not None:
            places = list(_chosen(text, places, gpus))
    return [at for at in places if gpus[at].own]


def _chosen(text: str, places: Sequence[int], gpus: Sequence[Gpu]) -> Iterator[int]:
    """Those that such a variable names, by number or by the beginning of an id; what follows a wrong one is ignored
    (CUDA Programming Guide, `CUDA_VISIBLE_DEVICES`).
    """
    for word in (part.strip() for part in text.split(",")):
        if word.isascii() and word.isdigit() and int(word) < len(places):
            yield places[int(word)]
        elif match := [at for at in places if word.startswith("GPU-") and gpus[at].id.startswith(word)]:
            yield match[0]
        else:
            return


def _vendor(gpu: Gpu) -> str:
    return "nvidia" if gpu.source == nvidia.SOURCE else "amd"
