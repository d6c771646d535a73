"""Another server, whose models are served here, too, is at fault or can't be asked."""

from __future__ import annotations

from .base import Error


class PeerFailed(Error):
    """A peer broke off, or did not answer as a server does; the message names it."""

    status, code = 502, "peer_failed"


class PeerUnavailable(Error):
    """Only peers have the model, and none of them can be asked now."""

    status, code = 503, "peer_unavailable"


class Loop(Error):
    """The request goes round in circles between llmsups, or has come through too many of them."""

    status, code = 508, "loop"
    lasting = True
