"""The supervisors of all models, each started when its model is first wanted."""

from __future__ import annotations

import trio

from .model.model import Model
from .model.permission import Admission
from .model.run import Start
from .model.supervisor import Supervisor


class Supervisors:
    """Starts and stops them.

    Attributes:
        nursery: Where they run; None while `run` doesn't run.
    """

    def __init__(self, start: Start, admission: Admission) -> None:
        self.nursery: trio.Nursery | None = None
        self._start = start
        self._admission = admission
        self._scopes: dict[Model, trio.CancelScope] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let them run; cancelling this stops all engines at the same time."""
        try:
            async with trio.open_nursery() as self.nursery:
                task_status.started()
                await trio.sleep_forever()
        finally:
            self.nursery = None

    def start(self, model: Model) -> None:
        """Supervise a model from now on."""
        if model not in self._scopes and self.nursery is not None:
            self._scopes[model] = trio.CancelScope()
            self.nursery.start_soon(self._supervise, model, name=f"model {model.spec.name}")

    def stop(self, model: Model) -> None:
        """Stop supervising a model, which must have no engine."""
        if scope := self._scopes.get(model):
            scope.cancel()

    async def _supervise(self, model: Model) -> None:
        with self._scopes[model]:
            await Supervisor(model, self._start, self._admission).run()
        del self._scopes[model]
