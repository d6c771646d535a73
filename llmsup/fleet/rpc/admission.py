"""The admission of models that need RPC workers: first it is seen to that these answer, then they are theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from ..model.model import Model
from ..model.permission import Admission, Grant
from ..model.states import State
from .workers import Workers


class WithWorkers:
    """The `Admission` of a machine whose models may have RPC workers.

    Before memory is asked for, so that nothing is evicted for a model whose worker is down, and so that it is known how
    much a worker has. Taken only with the memory granted, because a worker may be another model's until then.
    """

    def __init__(self, admission: Admission, workers: Workers) -> None:
        self._admission = admission
        self._workers = workers

    @asynccontextmanager
    async def admit(self, model: Model) -> AsyncIterator[Grant]:
        """See `Admission`.

        Raises:
            ModelFailed: One of its workers can't be used.
            ModelTooLarge: There will never be enough room.
        """
        if not model.spec.rpc:
            async with self._admission.admit(model) as grant:
                yield grant
            return
        run = model.run
        assert run is not None
        names = ", ".join(model.spec.rpc)
        model.become(
            State.WAITING, f"it waits for its RPC {'worker' if len(model.spec.rpc) == 1 else 'workers'} {names}"
        )
        with ExitStack() as waiting:
            waiting.enter_context(self._workers.wanted(model))
            await self._workers.known(model)
            async with self._admission.admit(model) as grant, self._workers.held(model, run):
                waiting.close()
                yield grant

    async def readmit(self, model: Model) -> bool:
        """See `Admission`; an engine that sleeps has kept its workers."""
        return await self._admission.readmit(model)
