"""What makes the body that an engine gets, once it is known which engine that is: it may want edits of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..config.schema import ModelSpec
from ..engines.http import Payload
from ..fleet.backend import BackendRun
from ..fleet.model.model import Model
from .api.dialect import Route
from .body import JsonBody
from .edits import changes
from .form import MultipartBody


def as_is(data: Payload) -> Callable[[BackendRun], Payload]:
    """The same for every engine."""
    return lambda _run: data


def edited(body: JsonBody, spec: ModelSpec, preset: str, *, samples: bool) -> Callable[[BackendRun], Payload]:
    """With the model's settings and edits, and what that engine couldn't take at launch."""

    def make(run: BackendRun) -> Payload:
        edits = changes(body, spec, preset=preset, defaults=run.body_defaults, generating=samples, renames=run.renames)
        return body.edited(edits)

    return make


def renamed(form: MultipartBody, data: Payload, spec: ModelSpec) -> Callable[[BackendRun], Payload]:
    """A form, with the name that its model has where it goes."""

    def make(run: BackendRun) -> Payload:
        name = run.renames or spec.upstream_model
        return form.renamed(name) if name else data

    return make


def prepared(
    route: Route, fields: JsonBody, body: JsonBody, model: Model, preset: str
) -> Callable[[BackendRun], Awaitable[Callable[[BackendRun], Payload]]] | None:
    """What prepares the body; None if it isn't known how much the engine computes at once."""
    if route.prepare is None or model.estimate is None:
        return None
    prepare, context = route.prepare, model.estimate.context

    async def make(run: BackendRun) -> Callable[[BackendRun], Payload]:
        ready = await prepare(body, fields, run.pool, min(context.n_ctx_seq, context.ubatch))
        return edited(ready, model.spec, preset, samples=route.samples)

    return make
