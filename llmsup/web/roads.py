"""Where requests go: those for engines to the gateway, all others to Hypercorn and the Quart-trio app."""

from __future__ import annotations

from collections.abc import Callable

from attrs import Factory, define

from ..gateway.access import is_preflight
from ..gateway.gateway import Gateway
from ..gateway.message import RequestHead, switching
from ..gateway.paths import canonical, decoded
from ..gateway.routes import Routes
from .head import Head
from .hypercorn_server import HypercornServer
from .lookout import Lookout


@define
class Roads:
    """Both roads.

    Attributes:
        fast: Returns `server.fast`; if False, only upgrades go straight to the gateway.
        lookout: Has the clients of requests in progress watched.
        routes: Says which requests are for the gateway.
    """

    gateway: Gateway
    hypercorn: HypercornServer
    fast: Callable[[], bool]
    lookout: Lookout
    routes: Routes = Factory(Routes)

    def direct(self, head: Head, client: str) -> RequestHead | None:
        """Return the request as the gateway takes it; None if it goes to Hypercorn."""
        if head.request is not None and self.fast():
            return head.request
        raw_path, _, query = head.target.partition(b"?")
        path = self.routes.usual.get(raw_path)
        if path is None:
            raw_path = canonical(raw_path)
            path = decoded(raw_path)
        route = self.routes.find(head.method, path, raw_path, query)
        if route is None:
            return None
        request = RequestHead(
            method=head.method, path=path, raw_path=raw_path, query=query, headers=head.headers, client=client
        )
        if not self.fast() and not (route.model == "path" and not head.old and switching(head.headers)):
            return None
        if is_preflight(request):
            return None
        request.known.route = route
        head.request = request
        return request
