"""Which path belongs to which API, and which paths are for engines: one table, used by both roads."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from urllib.parse import parse_qs, unquote_to_bytes

from attrs import frozen

from ..errors import ModelNotFound, NotFound
from . import api
from .api.dialect import GET, Dialect, Route
from .api.llama_cpp import LOOKS
from .api.openai import OPENAI
from .message import RequestHead
from .paths import canonical, decoded

UPSTREAM = b"/upstream/"

MAX_PARTS = 32
"""The most parts of a model's id; a path may have tens of thousands."""

_NEAR = 0.75
"""How similar a path must be to be suggested: below that, it is mostly something that isn't here."""

_UPSTREAM = Route(
    dialect=OPENAI,
    path="/upstream/*",
    methods=frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")),
    model="path",
)
"""Any other path of an engine."""


class Routes:
    """The table of routes.

    Attributes:
        usual: Raw paths in their usual spelling, with their decoded form.
    """

    def __init__(self, routes: Iterable[Route] = api.ROUTES) -> None:
        """Raises ValueError if two routes have the same path and method."""
        self._exact: dict[tuple[str, str], Route] = {}
        self._under: dict[bytes, list[Route]] = {}
        self._methods: dict[str, frozenset[str]] = {}
        self._dialects: dict[str, Dialect] = {}
        for route in (*routes, _UPSTREAM):
            self._add(route)
        self.usual = {path.encode(): path for path in self._methods}

    def _add(self, route: Route) -> None:
        self._dialects.update((under, route.dialect) for under in route.dialect.under)
        if route.path.endswith("/*"):
            self._under.setdefault(route.path[:-1].encode(), []).append(route)
            self._dialects.setdefault(route.path[:-2], route.dialect)
            return
        for method in route.methods:
            if (method, route.path) in self._exact:
                raise ValueError(f"two routes for {method} {route.path}")
            self._exact[method, route.path] = route
        self._methods[route.path] = self._methods.get(route.path, frozenset()) | route.methods
        self._dialects[route.path] = route.dialect

    def find(self, method: str, path: str, raw_path: bytes, query: bytes) -> Route | None:
        """Return the route of a request, or None if the gateway doesn't answer it.

        `raw_path` is canonical, and `path` the same path decoded.
        """
        route = self._exact.get((method, path))
        if route is None:
            return next((route for route in self._all_under(raw_path) if method in route.methods), None)
        return None if route.if_named and not parse_qs(query.decode("latin-1")).get("model") else route

    def of(self, head: RequestHead) -> Route:
        """Return the route of a request that a front passed to the gateway. Raises NotFound if there is none."""
        route = head.known.route or self.find(head.method, head.path, head.raw_path, head.query)
        if route is None:
            raise NotFound(f"There is no {head.method} {head.path[:200]}.")
        return route

    def _all_under(self, raw_path: bytes) -> Iterable[Route]:
        for prefix, routes in self._under.items():
            if raw_path.startswith(prefix) and len(raw_path) > len(prefix):
                yield from routes

    def methods(self, path: str, raw_path: bytes) -> frozenset[str]:
        """Return the methods that a path accepts."""
        return self._methods.get(path, frozenset()).union(*(route.methods for route in self._all_under(raw_path)))

    def dialect(self, path: str) -> Dialect:
        """Return the API that words errors for a path, even if the path doesn't exist."""
        if (dialect := self._dialects.get(path)) is not None:
            return dialect
        unders = ((len(under), dialect) for under, dialect in self._dialects.items() if path.startswith(f"{under}/"))
        return max(unders, key=lambda each: each[0], default=(0, OPENAI))[1]

    def nearest(self, path: str, others: Iterable[str] = ()) -> str:
        """Return the path that an unknown one was probably meant to be, among these and `others`; or "".

        That is one under /v1 that only has something in front of it (another server's prefix), else a similar one.
        """
        known = {*self._methods, *others}
        ends = [each for each in known if each.startswith("/v1/") and path.endswith(each)]
        return (
            max(ends, key=len)
            if ends
            else next(iter(difflib.get_close_matches(path[:200], known, n=1, cutoff=_NEAR)), "")
        )


def only_looks(route: Route, head: RequestHead, target: bytes, idle_paths: Iterable[str]) -> bool:
    """Tell whether a request only looks: no model is loaded for it, or kept loaded, unless it has `autoload=true`.

    Args:
        target: The path to request from the engine.
        idle_paths: Further paths of this model that only look; may be patterns.
    """
    if head.method not in GET:
        return False
    path = decoded(canonical(target))
    looks = route.look or path in LOOKS or any(fnmatchcase(path, pattern) for pattern in idle_paths)
    return looks and head.parameter("autoload") not in ("true", "1")


def may_load(head: RequestHead) -> bool:
    """Tell whether a model may be loaded for a request: not with `autoload=false`, as in llama-server's router."""
    return not head.query or head.parameter("autoload") not in ("false", "0")


@frozen
class Upstream:
    """A path under /upstream: the model's name, and the rest for the engine; None if even the "/" is missing."""

    model: str
    target: bytes | None


def split_upstream(raw_path: bytes, knows: Callable[[str], bool]) -> Upstream:
    """Find the model in `/upstream/{model}/{path}`. Ids may contain slashes: the longest known one wins.

    Raises:
        ModelNotFound: The path names no known model.
        NotFound: There is nothing after /upstream.
    """
    rest = raw_path.removeprefix(UPSTREAM)
    if not rest.strip(b"/"):
        raise NotFound("No model is named.", hint="Call /upstream/MODEL/PATH.")
    parts = rest.split(b"/")
    for count in range(min(len(parts), MAX_PARTS), 0, -1):
        if not parts[count - 1]:
            continue  # the slash is the engine's path: a name is known with one at its end, too
        name = unquote_to_bytes(b"/".join(parts[:count])).decode("utf-8", "replace")
        if knows(name):
            return Upstream(name, b"/" + b"/".join(parts[count:]) if count < len(parts) else None)
    raise ModelNotFound(
        f"There is no model {meant(raw_path)[:100]!r}.", hint="GET /v1/models lists them.", param="model"
    )


def meant(raw_path: bytes) -> str:
    """Guess the model meant in a path under /upstream that names no known one: ids are often org/name."""
    parts = raw_path.removeprefix(UPSTREAM).split(b"/")
    return unquote_to_bytes(b"/".join(parts[:2])).decode("utf-8", "replace").rstrip("/")
