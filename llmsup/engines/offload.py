"""What an engine of llama.cpp's is told about devices: how many layers go there, and how they are divided.

Where that puts a model is worked out in `memory.cost.placement`.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen


@frozen(kw_only=True)
class Offload:
    """The settings, in llama.cpp's terms.

    Attributes:
        layers: How many layers go to devices, from the last on; the output counts as one. "auto": as many as `--fit`
            finds room for.
        devices: The devices that it may use, as it names them ("CUDA0"); None: its own choice, all that it finds.
        split: Each device's share of the layers; empty: by what is free there.
        main: The device that is used if there is to be only one, by its place among them.
        one: Only that device is used (`--split-mode none`).
        caches: Whether a layer's cache is where its weights are; else all are in the machine's own memory.
        projector: Whether an `mmproj` file goes to a device.
        shrinks: Whether `--fit` may choose a smaller context, because the settings leave it to the engine.
    """

    layers: int | Literal["auto"] = "auto"
    devices: tuple[str, ...] | None = None
    split: tuple[float, ...] = ()
    main: int = 0
    one: bool = False
    caches: bool = True
    projector: bool = True
    shrinks: bool = False


OFFLOAD = Offload()
"""Nothing said."""
