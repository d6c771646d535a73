"""What is refused before anybody has looked at the request: it is no HTTP/1.1, or there is no room for its connection.

It does not know how that is found out.
"""

from __future__ import annotations

from ..errors import BadRequest, Error


class MalformedRequest(BadRequest):
    """What came is not HTTP/1.1, or breaks its rules, or could be read in two ways."""

    code = "malformed_request"


class TlsWanted(BadRequest):
    """Plain HTTP, where TLS is spoken."""

    code = "tls_wanted"


class RequestTimeout(BadRequest):
    """The request's head did not come in time."""

    status, code = 408, "request_timeout"


class TargetTooLong(BadRequest):
    """The path and query are longer than any that is meant."""

    status, code = 414, "target_too_long"


class HeadTooLarge(BadRequest):
    """The request's line and headers are longer, or more, than any that are meant."""

    status, code = 431, "head_too_large"


class NotImplementedHere(BadRequest):
    """A method that is for another kind of server."""

    status, code = 501, "not_implemented"


class VersionNotSupported(BadRequest):
    """Another version of HTTP."""

    status, code = 505, "http_version_not_supported"


class TooManyConnections(Error):
    """All the connections that the limit on open files allows are at work."""

    status, code = 503, "too_many_connections"

    def __init__(self) -> None:
        super().__init__(
            "All the connections that the limit on open files allows are at work.",
            hint="Raise it: `ulimit -n` where llmsup is started, LimitNOFILE in a systemd unit.",
            retry_after=1,
        )
