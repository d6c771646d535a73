"""What is served, by name: what a name means, and which model or other backend that is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from ..catalog.found import LeftOut
from ..catalog.resolver import Called, Match, Names
from ..errors import Error, ModelNotFound, PeerUnavailable, ShuttingDown
from ..process.watched import Watched
from .backend import Backend
from .model.model import Model

REMEMBERED = 1000
"""The most names whose meaning is remembered: there is no end of spellings."""


async def _nobody(_name: str) -> None:
    """Nobody can be woken."""


class NamedBackends(Watched):
    """The models and other backends, and the names that they answer to.

    Attributes:
        models: Those whose engines run here, by id.
        elsewhere: The backends for which nothing has to be started here, by id.
        addressed: Those that stand for one peer's model, as PEER/NAME; they are found, and not listed.
        shared: The backends that stand for a model here and elsewhere, by the model's id.
        complete: All models are known; False while files are still being read for the first time.
        without_engine: Models that no engine here can run, and why, with the remedy; as of the last scan.
        closing: llmsup is shutting down and takes no new request.
        asking: Waits until peers have told what they have, for a while; None once they have. Whoever asks them puts it
            here, and the next one.
        absent: Says why there is no model of a name, where it is more than that nobody has it; whoever knows puts it
            here. It is given the error that says so.
        rouse: Wakes the server that a name says it is at, if that has never told what it has, and waits for what it
            tells; whoever can puts it here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, Model] = {}
        self.elsewhere: dict[str, Backend] = {}
        self.addressed: dict[str, Backend] = {}
        self.shared: dict[str, Backend] = {}
        self.asking: Callable[[], Awaitable[object]] | None = None
        self.absent: Callable[[str, ModelNotFound], Error | None] = lambda _name, _error: None
        self.rouse: Callable[[str], Awaitable[object]] = _nobody
        self.complete = False
        self.without_engine: Mapping[str, str] = {}
        self.closing = False
        self._names = Names({})
        self._left_out: Iterable[LeftOut] = ()
        self._also: Mapping[str, Iterable[str]] = {}
        self._recent: dict[str, tuple[Match, Backend]] = {}  # what `served` has found since the last change

    def serve_elsewhere(
        self,
        backends: Iterable[Backend],
        *,
        addressed: Iterable[Backend] = (),
        shared: Iterable[Backend] = (),
        also: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        """Serve these too, in place of any given before, each under its spec's name. A model here takes precedence over
        a backend of the same name, unless that is one of the `shared`, which stand for it.

        Args:
            addressed: Those that are not listed.
            also: What else the others answer to, by their names, as long as nobody else does.
        """
        self.elsewhere = {backend.spec.name: backend for backend in backends}
        self.addressed = {backend.spec.name: backend for backend in addressed}
        self.shared = {backend.spec.name: backend for backend in shared}
        self._also = also or {}
        self._update_names()

    def _update_names(self) -> None:
        """Work out all names again, after a change of the models, the backends or what they are called."""
        called = {name: model.entry.called for name, model in self.models.items()}
        for name, backend in (*self.elsewhere.items(), *self.addressed.items()):
            if name not in called:  # what is here has its names first
                also = dict.fromkeys(self._also.get(name, ()), "")
                listed = name in self.elsewhere and not backend.spec.unlisted
                called[name] = Called(backend.spec.aliases, backend.spec.presets, also, listed=listed)
        self._names = Names(called, self._left_out)
        self._recent.clear()
        self.notify()

    def resolve(self, name: str) -> Match:
        """What a name means.

        Raises:
            ModelNotFound: Nothing, or several models.
            PeerUnavailable: It would be a peer's model, and that can't be asked what it has.
        """
        try:
            return self._names.resolve(name)
        except ModelNotFound as error:
            # A name that several have is none that is missing.
            if self._names.is_free(name) and (why := self.absent(name, error)) is not None:
                raise why from None
            raise

    async def known(self, name: str) -> Match:
        """What a name means; waits while files are still being read, because an unknown name may yet turn up.

        Raises:
            ModelNotFound: It didn't turn up.
            ShuttingDown: llmsup is shutting down before all files were read.
        """
        if not self.complete:
            await self._until_known(name)
        if self.asking is not None and not self.knows(name):
            await self.asking()
        return self.resolve(name)

    def served_lately(self, name: str) -> tuple[Match, Backend] | None:
        """Return what `served` has returned for a name, if it has, and nothing has changed since."""
        return self._recent.get(name)

    async def served(self, name: str) -> tuple[Match, Backend]:
        """What a name means, and the backend of that. Waits and raises as `known` does, and for a machine that is woken
        for it.
        """
        try:
            match = await self.known(name)
        except PeerUnavailable:
            await self.rouse(name)
            match = await self.known(name)
        backend = self.backend(match.id)
        if self.complete:  # else its meaning may change without notice
            if len(self._recent) >= REMEMBERED:
                self._recent.clear()
            self._recent[name] = match, backend
        return match, backend

    async def _until_known(self, name: str) -> None:
        # An id or an alias is final; a name that comes from a file may turn out to be shared by several.
        await self.until(lambda: self.complete or self.closing or self._names.was_given(name))
        if self.closing and not self.complete and not self._names.was_given(name):
            raise ShuttingDown("llmsup is shutting down.")

    def knows(self, name: str) -> bool:
        """Whether a name means exactly one model."""
        return self._names.find(name) is not None

    def backend(self, id_: str) -> Backend:
        """The backend with an id that `resolve` or `known` has just returned."""
        model = self.models.get(id_)
        if model is None:
            return self.elsewhere.get(id_) or self.addressed[id_]
        return self.shared.get(id_) or model if self.shared else model

    def model(self, id_: str) -> Model:
        """The model with an id that `resolve` or `known` has just returned, for requests about its engine.

        Raises:
            ModelNotFound: It has no engine here.
        """
        if (model := self.models.get(id_)) is None:
            there = self.backend(id_).places
            hint = f"Its engine is at a peer, and is asked for such things there: {there}." if there else ""
            raise ModelNotFound(f"{id_!r} is not served by an engine of this llmsup.", param="model", hint=hint)
        return model

    def here(self, name: str) -> Model | None:
        """The model here that a name means; None if it means none, or one elsewhere."""
        match = self._names.find(name)
        return None if match is None else self.models.get(match.id)

    def id_of(self, name: str) -> str | None:
        """The id of what a name means; None if it means nothing, or several."""
        match = self._names.find(name)
        return None if match is None else match.id

    def find(self, name: str) -> Model:
        """The model here that a name means. Raises ModelNotFound."""
        return self.model(self.resolve(name).id)

    def names_of(self, model: Model) -> list[str]:
        """The names, besides its id and its aliases, that mean this model and no other."""
        return self._names.own(model.spec.name, model.entry.also)
