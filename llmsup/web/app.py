"""The Quart-trio app: every path of llmsup's own, and every error in one shape.

How it is served is in `hypercorn_server`.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import cast

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as QuartMethodNotAllowed
from werkzeug.routing import PathConverter

from ..bridge.scheduler import BridgeScheduler
from ..errors import BadRequest, Error, MethodNotAllowed, NotFound
from ..fleet.fleet import Fleet
from ..fleet.memory.governor import Governor
from ..fleet.pausing import Pausing
from ..fleet.reconciler import Reconciler
from ..fleet.rpc.workers import Workers
from ..gateway.access import is_preflight
from ..gateway.api.anthropic import ANTHROPIC
from ..gateway.api.dialect import Dialect
from ..gateway.api.openai import OPENAI
from ..gateway.gateway import Gateway
from ..gateway.keyring import ANYBODY, check_admin
from ..gateway.paths import named
from ..gateway.routes import Routes
from ..history.recorder import History
from ..peers.peers import Peers
from ..prompt_cache.cache import PromptCache
from .answers import as_error
from .bridge import bridge
from .control import control, models
from .events import events
from .for_peers import introduce
from .history import history
from .leasing import LeasingConnection, LeasingRequest, response_of
from .llama_swap import llama_swap
from .llama_swap_metrics import llama_swap_metrics
from .loads import loads
from .logs import logs
from .memory import memory
from .metrics import metrics
from .openapi.route import openapi
from .page import page
from .pause import pause
from .peers import peers as peers_routes
from .prompt_cache import prompt_cache
from .prompts import prompts
from .rpc import rpc
from .usage import usage

log = logging.getLogger(__name__)

FOR_ALL_KEYS = frozenset(
    (
        "/openapi.json",
        "/health",
        "/v1/health",
        "/props",
        "/models",
        "/v1/models",
        "/v1/models/<model:name>",
        "/usage",
        "/ui",
        "/ui/<name>",
    )
)
"""The routes of the app that don't need a key with `admin`: what clients ask before they ask a model. They show a key
no more than it may use; the page, which needs none, is the same for all and asks for one itself."""


class AnyPath(PathConverter):
    """Matches anything in a path, line breaks included, so that a name with one gets the usual "no such model"."""

    regex = r"[^/](?s:.*?)"


class NameInPath(AnyPath):
    """A model's name at the end of a route, `<model:name>`, which may contain slashes, plain or encoded."""

    def to_python(self, value: str) -> str:
        """Decode the name."""
        return named(value)


class App(QuartTrio):
    """Quart-trio with leases that end with their requests."""

    asgi_http_class = LeasingConnection
    request_class = LeasingRequest


def current() -> LeasingRequest:
    """Return the request being handled."""
    return cast("LeasingRequest", request)


def build_app(
    gateway: Gateway,
    fleet: Fleet,
    reconciler: Reconciler,
    governor: Governor,
    scheduler: BridgeScheduler,
    cache: PromptCache,
    pausing: Pausing,
    past: History,
    peers: Peers,
    workers: Workers,
) -> App:
    """Assemble the app."""
    app = App("llmsup", static_folder=None)
    app.config["RESPONSE_TIMEOUT"] = None  # Quart's default of a minute would silently cut streams short
    app.config["BODY_TIMEOUT"] = None  # `gateway.reading` limits bodies
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.converters |= {"path": AnyPath, "model": NameInPath}
    app.url_map.merge_slashes = False  # paths are canonical (`gateway.paths`), and engines' must not change
    for routes in (
        control(fleet, reconciler, governor, peers),
        models(fleet, reconciler, governor, cache, gateway.places),
        loads(fleet, governor),
        memory(fleet, governor, cache),
        prompts(fleet, gateway),
        prompt_cache(fleet, cache),
        rpc(workers, governor),
        history(past, fleet),
        llama_swap(fleet, gateway.activity, gateway.places),
        llama_swap_metrics(gateway.activity),
        metrics(fleet, governor, gateway.usage, cache, peers, workers),
        usage(gateway.usage),
        logs(fleet),
        events(fleet),
        bridge(scheduler),
        pause(fleet, pausing),
        peers_routes(peers, fleet),
        openapi(FOR_ALL_KEYS),
        page(fleet, governor),
    ):
        app.register_blueprint(routes)

    @app.before_request
    async def check() -> Response | None:
        """Check keys and origins before anything else happens."""
        incoming = current()
        head = incoming.head
        incoming.max_content_length = gateway.server.max_body
        if is_preflight(head):
            gateway.guard.check(head)
            return Response(b"", HTTPStatus.NO_CONTENT)
        if (
            gateway.routes.find(head.method, head.path, head.raw_path, head.query) is not None
        ):  # which checks its requests itself, and words its errors for whoever asks
            incoming.caller = ANYBODY
            return response_of(await incoming.resources.enter_async_context(gateway.exchange(head, incoming.body)))
        incoming.caller = gateway.guard.check(head)
        if incoming.url_rule is not None and incoming.url_rule.rule not in FOR_ALL_KEYS:
            check_admin(incoming.caller)
        return None

    @app.after_request
    async def allow(response: Response) -> Response:
        for name, value in gateway.guard.headers(current().head):
            response.headers.add(name.decode(), value.decode("latin-1"))
        return response

    @app.after_request
    async def complete(response: Response) -> Response:
        await introduce(response, fleet, governor, peers)
        return response

    _answer_errors(app, gateway)
    return app


def _answer_errors(app: App, gateway: Gateway) -> None:
    """Have every error answered in the shape of the API that its path belongs to."""

    routes = gateway.routes

    def dialect() -> Dialect:
        """Return the path's API; on paths of several, Anthropic's for its clients, all of which send that header."""
        head = current().head
        found = routes.dialect(head.path)
        return ANTHROPIC if found is OPENAI and head.header(b"anthropic-version") else found

    @app.errorhandler(Error)
    async def on_error(error: Error) -> Response:
        return as_error(current().caller.discreet(gateway.fleet, error), dialect())

    @app.errorhandler(HTTPException)
    async def on_http_error(error: HTTPException) -> Response:
        ours = _translated(error, app, routes)
        if isinstance(ours, MethodNotAllowed) and request.method == "OPTIONS":
            return Response(b"", HTTPStatus.NO_CONTENT, {"Allow": ", ".join((*ours.allowed, "OPTIONS"))})
        return as_error(ours, dialect())

    @app.errorhandler(Exception)
    async def on_bug(error: Exception) -> Response:
        log.error("a bug in llmsup: %s %s", request.method, request.path, exc_info=error)
        bug = Error(f"A bug in llmsup: {type(error).__name__}. Its log has the details.", lasting=True)
        return as_error(bug, dialect())


def _translated(error: HTTPException, app: App, routes: Routes) -> Error:
    """Turn Quart's errors into ours."""
    head = current().head
    if error.code not in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        return BadRequest(error.description or error.name)
    allowed = routes.methods(head.path, head.raw_path)
    if isinstance(error, QuartMethodNotAllowed):
        allowed |= set(error.valid_methods or ())
    if allowed:
        text = f"{head.path} does not take {head.method}, only {', '.join(sorted(allowed))}."
        return MethodNotAllowed(text, allowed=tuple(sorted(allowed)))
    others = [rule.rule for rule in app.url_map.iter_rules() if not rule.arguments]
    near = routes.nearest(head.path, others)
    hint = f"Did you mean {near}?" if near else "See the README for what there is."
    return NotFound(f"There is no {head.method} {head.path[:200]}.", hint=hint)
