"""How many requests may wait for models altogether, and how many of them may be one client's."""

from __future__ import annotations

from collections.abc import Collection

from ..errors import QueueFull
from .model.model import Model


def check_queue(models: Collection[Model], most: int, client: str) -> None:
    """Check whether one more request may wait.

    The queue may be full, or the client may already hold more places than it leaves free: half of them if it is alone,
    a third if two clients do the same, and so on. So no client can fill the queue, and a newcomer finds room (switches
    share a buffer like this: Choudhury and Hahne, "Dynamic queue length thresholds", 1998).

    Args:
        models: All models.
        most: How many requests may wait for all of them together.
        client: Whose request it is; "" is no particular client, and has no share.

    Raises:
        QueueFull: It may not wait.
    """
    left = most - sum(model.queue.waiting for model in models)
    if left <= 0:
        raise QueueFull(f"{most} requests are waiting for models already (max_queue).", retry_after=5)
    if client and (own := sum(model.queue.waiting_of(client) for model in models)) > left:
        raise QueueFull(
            f"{own} requests from this client are waiting already, and {left} places are left for everyone else.",
            hint=f"A client may take as many places as it leaves free (max_queue is {most}).",
            retry_after=5,
        )
