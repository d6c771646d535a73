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
        fast: As `server.fast`: else nothing but upgrades goes straight into the gateway.
        lookout: Has clients watched that are being answered.
        routes: Which requests are the gateway's.
    """

    gateway: Gateway
    hypercorn: HypercornServer
    fast: Callable[[], bool]
    lookout: Lookout
    routes: Routes = Factory(Routes)

    def direct(self, head: Head, client: str) -> RequestHead | None:
        """The request as the gateway wants it; None: it is not the gateway's."""
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
        return None if is_preflight(request) else request
