"""What `/rpc` gives."""

from __future__ import annotations

from typing import Literal, TypedDict

WorkerState = Literal["stopped", "starting", "up", "failed"]


class WorkerProcess(TypedDict):
    """One way to a worker.

    Attributes:
        pid: Of the process here: the worker, or the ssh that leads to it; null: it is not ours.
        address: Where engines find it.
        model: The model whose engine has it; null: it is idle.
        ready: Whether it answers.
    """

    pid: int | None
    address: str
    model: str | None
    ready: bool


class Worker(TypedDict):
    """An RPC worker of the config.

    Attributes:
        reason: Why its state is what it is.
        ssh: The machine that it is reached on by ssh; null: this one.
        models: The models that have a part of them there.
        memory_bytes: What models may have there together; null: that isn't known yet.
        used_bytes: What they count for there.
        restarts: How often it has died since llmsup started.
        retry_in: Seconds until it is tried again; null: it may be at once.
        log_tail: Its last lines.
    """

    worker: str
    state: WorkerState
    reason: str
    since: float | None
    ssh: str | None
    processes: list[WorkerProcess]
    models: list[str]
    memory_bytes: int | None
    used_bytes: int
    restarts: int
    retry_in: float | None
    log_tail: list[str]
