"""Unloads many models at once."""

from __future__ import annotations

from collections.abc import Iterable

import trio

from ..errors import StillRunning
from ..units import Bytes
from .model.model import Model


async def unload_all(models: Iterable[Model], reason: str, *, force: bool = False) -> Bytes:
    """Unload models at the same time; returns the bytes that they used together.

    Raises:
        StillRunning: The engines are gone, but some process that they started is not.
    """
    freed: list[Bytes] = []
    left: list[StillRunning] = []

    async def unload(model: Model) -> None:
        try:
            freed.append(await model.unload(reason, force=force))
        except StillRunning as error:
            left.append(error)

    async with trio.open_nursery() as nursery:
        for model in models:
            nursery.start_soon(unload, model)
    if left:
        raise StillRunning(" ".join(error.message for error in left), hint=left[0].hint)
    return Bytes(sum(freed))
