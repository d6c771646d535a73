"""The request is wrong, or there are too many."""

from __future__ import annotations

from .base import Error


class BadRequest(Error):
    """The request is malformed, whatever model it is for."""

    status, code, type = 400, "invalid_request", "invalid_request_error"


class MalformedRequest(BadRequest):
    """What came is not HTTP/1.1, or breaks its rules, or could be read in two ways."""

    code = "malformed_request"


class TlsWanted(BadRequest):
    """Plain HTTP, where TLS is spoken."""

    code = "tls_wanted"


class InvalidJson(BadRequest):
    """The body is not a JSON object."""

    code = "invalid_json"


class ModelRequired(BadRequest):
    """The request names no model, and there is no default one."""

    code = "model_required"


class InvalidApiKey(Error):
    """The server requires a key, and the request's is missing or wrong."""

    status, code, type = 401, "invalid_api_key", "authentication_error"


class AdminRequired(Error):
    """The request's key is good, but not for the control API."""

    status, code, type = 403, "admin_required", "permission_error"
    lasting = True


class ForbiddenOrigin(Error):
    """The request comes from a web page of an untrusted origin."""

    status, code, type = 403, "forbidden_origin", "permission_error"


class NotFound(Error):
    """There is no such path."""

    status, code, type = 404, "not_found", "invalid_request_error"


class ModelNotFound(NotFound):
    """No model has that name, or several do."""

    code = "model_not_found"


class MethodNotAllowed(Error):
    """The path exists, but doesn't support this method."""

    status, code, type = 405, "method_not_allowed", "invalid_request_error"

    def __init__(self, message: str, *, allowed: tuple[str, ...]) -> None:
        """`allowed`: the methods that the path supports."""
        super().__init__(message)
        self.allowed = allowed


class BodyTooLarge(Error):
    """The body is larger than `server.max_body`."""

    status, code, type = 413, "body_too_large", "invalid_request_error"


class BodyTooSlow(Error):
    """The body came too slowly, or not at all."""

    status, code, type = 408, "body_timeout", "invalid_request_error"


class UnsupportedEncoding(Error):
    """The body is compressed in a way that llmsup doesn't read."""

    status, code, type = 415, "unsupported_encoding", "invalid_request_error"


class RequestTimeout(BadRequest):
    """The request's head did not come in time."""

    status, code = 408, "request_timeout"


class TargetTooLong(BadRequest):
    """The path and query are longer than any that is meant."""

    status, code = 414, "target_too_long"


class HeadTooLarge(BadRequest):
    """The request's line and headers are longer, or more, than any that are meant."""

    status, code = 431, "head_too_large"


class MethodNotImplemented(BadRequest):
    """A method that is for another kind of server."""

    status, code = 501, "not_implemented"
    lasting = True


class VersionNotSupported(BadRequest):
    """Another version of HTTP."""

    status, code = 505, "http_version_not_supported"
    lasting = True


class QueueFull(Error):
    """More requests are waiting for models than `server.max_queue`."""

    status, code, type = 429, "queue_full", "rate_limit_error"


class RateLimited(Error):
    """The client's key has used up its limit for now."""

    status, code, type = 429, "rate_limit_exceeded", "rate_limit_error"
