"""Talks to a running server, over plain HTTP or TLS and never through a proxy. `target` chooses the server."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Generator, Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, RemoteDisconnected
from typing import Any
from urllib.parse import quote, urlsplit

from attrs import field, frozen

from ..errors import Error
from ..gateway.hosts import is_loopback
from ..units import Seconds

PATIENCE = Seconds(10)
"""How long a server may take to accept a connection, or to answer a request that needs no work."""

WAY_OUT = "Start one with `llmsup serve`; name another with --url, or its config in $LLMSUP_CONFIG."


class Refused(Error):
    """The server answered with an error: `refusal` is its code, `mistakes` are those in the server's config."""

    def __init__(self, message: str, code: str, log_tail: tuple[str, ...], mistakes: tuple[str, ...] = ()) -> None:
        hint = "The commands take it from $LLMSUP_API_KEY." if code == "invalid_api_key" else ""
        super().__init__(message, hint=hint, log_tail=log_tail)
        self.refusal = code
        self.mistakes = mistakes


class NoServer(Error):
    """Nothing answers at the URL, or what answers isn't llmsup."""

    code = "no_server"


@frozen
class Client:
    """One server.

    Attributes:
        url: Its base URL.
        key: The API key to send, or "".
    """

    url: str
    key: str = field(default="", repr=False)

    def get(self, path: str, patience: Seconds = PATIENCE) -> Any:
        """GET JSON; `patience`: how many seconds that may take. Raises Refused, NoServer."""
        return self._json("GET", path, None, patience)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST JSON and wait for the answer without a time limit. Raises Refused, NoServer."""
        return self._json("POST", path, body, None)

    def events(self, path: str, body: Mapping[str, Any]) -> Generator[Any, None, None]:
        """POST JSON, and yield the JSON of each server-sent event as it arrives. Closing the iterator hangs up.

        Raises:
            Refused: The server refused, or an event is an error.
            NoServer: There is none, or the connection broke.
        """
        with contextlib.closing(self.lines(path, body)) as lines:
            for line in lines:
                if not line.startswith("data:") or (data := line[5:].strip()) == "[DONE]":
                    continue
                try:
                    event = json.loads(data)
                except ValueError:  # nothing that we could show
                    continue
                if isinstance(event, dict) and isinstance(error := event.get("error"), dict):
                    raise _refused(error)
                yield event

    def lines(self, path: str, body: Mapping[str, Any] | None = None) -> Generator[str, None, None]:
        """GET text, or POST for it, line by line as it arrives. Raises Refused, NoServer."""
        with self._ask("GET" if body is None else "POST", path, body, None) as response:
            begun = b""
            # Not `for line in response`, which can't tell a broken connection from the end of the answer.
            while data := response.read1(65536):
                *lines, begun = (begun + data).split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace")
            if begun:
                yield begun.decode(errors="replace")

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None, patience: float | None) -> Any:
        with self._ask(method, path, body, patience) as response:
            data = response.read()
        try:
            return json.loads(data)
        except ValueError:
            raise NoServer(f"What answers at {self.url} is not llmsup.", hint=WAY_OUT) from None

    @contextlib.contextmanager
    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, patience: float | None
    ) -> Iterator[HTTPResponse]:
        answered = False
        try:
            with contextlib.closing(self._connect(PATIENCE if patience is None else patience)) as connection:
                if isinstance(connection.sock, socket.socket):
                    connection.sock.settimeout(patience)
                connection.request(method, urlsplit(self.url).path.rstrip("/") + path, *self._message(body))
                response = connection.getresponse()
                if response.status >= 400:
                    raise _refusal(response, self.url)
                answered = True
                yield response
        except (OSError, HTTPException) as error:
            if answered:
                raise NoServer(f"the server at {self.url} ended, or the connection to it broke.") from None
            raise self._trouble(error) from None

    def _trouble(self, error: OSError | HTTPException) -> NoServer:
        """Why there was no answer, as an error for people."""
        if isinstance(error, ssl.SSLCertVerificationError):
            hint = "If it is your own, name it in $SSL_CERT_FILE."
            return NoServer(f"The certificate of {self.url} is not trusted: {error.verify_message}.", hint=hint)
        if isinstance(error, ssl.SSLError):
            hint = f"If it has no certificate, write {self.url.replace('https', 'http', 1)}."
            return NoServer(f"what answers at {self.url} does not speak TLS, or not as it should.", hint=hint)
        if isinstance(error, RemoteDisconnected):
            hint = f"If it speaks TLS, write {self.url.replace('http', 'https', 1)}. " if self._plain else ""
            return NoServer(f"what answers at {self.url} hung up without a word.", hint=hint + WAY_OUT)
        why = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        return NoServer(f"no server answers at {self.url} ({why}).", hint=WAY_OUT)

    @property
    def _plain(self) -> bool:
        return self.url.startswith("http://")

    def _connect(self, patience: float) -> HTTPConnection:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if not self._plain:
            context = ssl.create_default_context()
            if is_loopback(host, certainly=True):
                # No authority signs a certificate for 127.0.0.1, and the traffic doesn't leave the machine.
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            connection: HTTPConnection = HTTPSConnection(host, parts.port, timeout=patience, context=context)
        else:
            connection = HTTPConnection(host, parts.port, timeout=patience)
        connection.connect()
        return connection

    def _message(self, body: Mapping[str, Any] | None) -> tuple[bytes | None, dict[str, str]]:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        if body is None:
            return None, headers
        return json.dumps(body).encode(), {**headers, "Content-Type": "application/json"}


def model_path(prefix: str, model: str) -> str:
    """The path of a model's resource. Slashes in the name are encoded: a name can be an absolute path or a URL, and
    the server takes repeated slashes in a path for one.
    """
    return f"{prefix}/{quote(model, safe='')}"


def _refusal(response: HTTPResponse, url: str) -> Error:
    try:
        error = json.loads(response.read())["error"]
        if error.get("code") == "not_found" and (path := urlsplit(url).path):
            whole = url.removesuffix(path)
            return NoServer(f"{url} is not where a server's paths begin.", hint=f"Try {whole}, without {path}.")
        return _refused(error)
    except (ValueError, KeyError, TypeError, AttributeError):
        return NoServer(f"What answers at {url} is not llmsup (HTTP {response.status}).", hint=WAY_OUT)


def _refused(error: Mapping[str, Any]) -> Refused:
    tail, mistakes = (tuple(str(line) for line in error.get(name, ())) for name in ("log_tail", "mistakes"))
    return Refused(str(error["message"]), str(error.get("code")), tail, mistakes)
