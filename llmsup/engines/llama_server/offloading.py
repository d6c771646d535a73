"""What a model's settings tell a llama-server about devices."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Literal

from ...config.schema import ModelSpec
from ...errors import Collected, SetupError
from ..devices import Device, ordered
from ..offload import Offload
from .given import FALSE, MOST, Given

NO_DEVICE = "none"
"""The word for `--device` that leaves only the CPU (llama.cpp common/arg.cpp, `parse_device_list`)."""


def offload(spec: ModelSpec, given: Given) -> Offload:
    """Return what llama-server makes of the settings (common/arg.cpp); what it would refuse counts as not given."""
    fits = given.text("--fit").lower() not in FALSE
    layers = _layers(given.text("--n-gpu-layers", "" if spec.n_gpu_layers == "auto" else str(spec.n_gpu_layers)))
    named = given.text("--device", ",".join(spec.devices))
    names = tuple(name.strip() for name in named.split(",") if name.strip())
    return Offload(
        layers=layers if fits or layers != "auto" else MOST,
        devices=None if not names else () if names == (NO_DEVICE,) else names,
        split=_split(given.text("--tensor-split")),
        main=max(given.number("--main-gpu"), 0),
        one=given.text("--split-mode") == "none",
        caches=given.on("--kv-offload", default=True),
        projector=given.on("--mmproj-offload", default=True),
        shrinks=fits and not given.number("--ctx-size", spec.ctx_size) and not given.number("--kv-unified-per-slot"),
    )


def device_order(spec: ModelSpec, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what to add to the engine's environment so that the model's `devices` mean what `nvidia-smi` shows.

    Args:
        environ: What the engine inherits; None: our own environment.
    """
    return ordered(spec.devices, os.environ if environ is None else environ, spec.env)


def check_devices(spec: ModelSpec, found: tuple[Device, ...] | None) -> None:
    """Refuse devices in a model's settings that its engine doesn't find.

    Args:
        found: Those that it finds; None if it can't be asked.

    Raises:
        SetupError: One or several aren't there; all of them are listed.
    """
    if found is None:
        return
    problems = Collected()
    there = ", ".join(map(str, found)) or "none"
    for name in spec.devices:
        if name != NO_DEVICE and name not in {each.id for each in found}:
            hint = f"What its --list-devices names: {there}. For the CPU alone, write [{NO_DEVICE!r}]."
            problems.add(
                SetupError(f"model {spec.name}: devices has {name!r}, which its engine doesn't find.", hint=hint)
            )
    problems.check()


def _layers(word: str) -> int | Literal["auto"]:
    """-1 is "auto", and anything below that, like "all", is all of them."""
    if word == "all":
        return MOST
    try:
        number = int(word[:20])
    except ValueError:
        return "auto"
    return "auto" if number == -1 else MOST if number < 0 else min(number, MOST)


def _split(text: str) -> tuple[float, ...]:
    """Shares, separated by commas or slashes."""
    try:
        shares = [float(part) for part in text.replace("/", ",").split(",")] if text else []
    except ValueError:
        return ()
    return tuple(shares) if all(share >= 0 and math.isfinite(share) for share in shares) else ()
