"""The connections to one running engine: opened as needed, kept for a moment, closed all at once.

A pool belongs to one run of an engine: once closed, none of its connections carries another request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from urllib.parse import unquote

import trio

from ..errors import NotFound
from ..process.clock import clock
from ..process.shortage import insist
from ..units import Seconds
from .address import LOCAL, Address, TcpAddress
from .connection import Connection, Disconnected, Unreachable
from .dial import connect
from .http import AnswerHead, HeaderLines, Headers, Payload

MAX_IDLE = 4.0
"""Seconds that an idle connection is kept. llama-server closes its side after 5."""


MOST_IDLE = 60
"""The most idle connections kept to one engine. Each occupies one of the engine's threads, of which the built-in ones
have 64; this leaves a few for health checks. Any further connection is simply opened anew for the next request."""

PATIENCE = Seconds(2)
"""Seconds to keep trying to open a connection while the system refuses us one."""


class Answer:
    """An engine's answer: its head, and its body as it arrives.

    Attributes:
        head: Its head.
    """

    def __init__(self, pool: ConnectionPool, connection: Connection, head: AnswerHead) -> None:
        self.head = head
        self._pool = pool
        self._connection = connection

    @property
    def status(self) -> int:
        """Its status."""
        return self.head.status

    @property
    def reason(self) -> bytes:
        """Its reason phrase."""
        return self.head.reason

    @property
    def headers(self) -> Headers:
        """Its headers."""
        return self.head.headers

    @property
    def streams(self) -> bool:
        """Whether the body is an event stream."""
        return self.head.streams

    async def body(self) -> bytes:
        """Return the next bytes; b"" at the end. Raises whatever `Connection.body` raises."""
        body = self._connection.at_hand()
        if body is None:
            body = await self._connection.body()
            self._pool.heard = trio.current_time()
        return body

    def whole(self) -> bytes:
        """Return the body of an answer that has come as a whole (`AnswerHead.again` says so)."""
        return self._connection.at_hand() or b""

    @property
    def ended_by_closing(self) -> bool:
        """Whether only the closed connection marked the body's end, so that a truncated one looks complete."""
        return self._connection.ended_by_closing

    async def receive(self) -> bytes:
        """After status 101: the other protocol's next bytes; b"" at the end. Raises what trio's streams raise."""
        data = await self._connection.receive()
        self._pool.heard = trio.current_time()
        return data

    async def send(self, data: bytes) -> None:
        """After status 101: send bytes of the other protocol. Raises what trio's streams raise."""
        await self._connection.transmit(data)

    def end(self) -> bool:
        """Return the connection to the pool if the answer is complete; else returns False, and it must be closed."""
        return self._pool.keep(self._connection)

    async def close(self) -> None:
        """Return the connection to the pool if the answer is complete; else close it, which stops the engine's work."""
        if not self._pool.keep(self._connection):
            await self._connection.close()


class ConnectionPool:
    """Keep-alive connections to one engine, newest first.

    Attributes:
        lost: Whether the engine's socket is gone: open connections continue, but no new one can be made.
    """

    def __init__(
        self,
        open_stream: Callable[[], Awaitable[trio.abc.Stream]],
        opening: bytes = LOCAL,
        path: bytes = b"",
        *,
        open_paths: tuple[str, ...] | None = None,
    ) -> None:
        """What every request begins with: `opening` its headers (`Address.opening`), `path` its path. `open_paths`:
        what may be asked for (`Launch.open_paths`).
        """
        self._open_paths = open_paths
        self._now = clock()
        self._opening = opening
        self._path = path
        self._open_stream = open_stream
        self._idle: list[tuple[float, Connection]] = []
        self._busy: set[Connection] = set()
        self._closed = False
        self._kept = trio.Event()  # set while there is an idle connection
        self.lost = trio.Event()
        self.heard = 0.0
        """When the engine last sent anything (trio's clock)."""

    @classmethod
    def to(cls, address: Address, open_paths: tuple[str, ...] | None = None) -> ConnectionPool:
        """Return a pool of connections to an address. `open_paths`: what may be asked for on them; None: anything."""
        path = address.path.encode("ascii") if isinstance(address, TcpAddress) else b""
        return cls(lambda: connect(address), address.opening, path, open_paths=open_paths)

    def __repr__(self) -> str:
        return (
            f"<ConnectionPool {'closed' if self._closed else 'open'}, {len(self._busy)} busy, {len(self._idle)} idle>"
        )

    async def run(self) -> None:
        """Close connections that were idle for MAX_IDLE, until cancelled."""
        while True:
            if not self._idle:
                self._kept = trio.Event()
                await self._kept.wait()
                continue  # it may have been taken meanwhile
            await trio.sleep_until(self._idle[0][0] + MAX_IDLE)
            for connection in self._old():
                await connection.close()

    @property
    def busy(self) -> bool:
        """Whether the engine has a request to answer."""
        return bool(self._busy)

    async def request(self, method: str, target: bytes, headers: Headers | HeaderLines, body: Payload) -> Answer:
        """Send a request and wait for the head of its answer.

        A kept connection may turn out to be dead before the first byte of an answer: then, and only then, the request
        is sent again, on a new one.

        Raises:
            Disconnected: The engine can't be reached, or closed the connection.
            Unreachable: The engine's socket is gone.
            OutOfResources: The system refuses us a connection.
            EngineBadAnswer: The engine sent something that is not HTTP.
            NotFound: The path is not for clients.
        """
        if self._open_paths is not None:
            _check_path(target, self._open_paths)
        if self._path:
            target = self._path + target
        dead: list[Connection] = []
        connection = self._pick(dead) if self._idle else None
        for corpse in dead:
            await corpse.close()
        kept = connection is not None
        while True:
            connection = connection or await self._open()
            try:
                await connection.send(method, target, headers, body)
                head = await connection.head()
            except BaseException as error:
                given_up = connection not in self._busy  # by `hang_up`
                self._busy.discard(connection)
                await connection.close()
                if not kept or given_up or self._closed or not isinstance(error, Disconnected) or error.began:
                    raise
                connection, kept = None, False
            else:
                self.heard = self._now()
                return Answer(self, connection, head)

    async def _open(self) -> Connection:
        if self._closed:
            raise Disconnected(began=False)
        try:
            stream = await insist(self._open_stream, "connect to an engine", patience=PATIENCE)
        except FileNotFoundError:
            self.lost.set()
            raise Unreachable from None
        except OSError as error:  # a bad certificate, too: who explains it can look
            raise Disconnected(began=False) from error
        connection = Connection(stream, self._opening)
        if self._closed:  # meanwhile
            await connection.close()
            raise Disconnected(began=False)
        self._busy.add(connection)
        return connection

    def _pick(self, dead: list[Connection]) -> Connection | None:
        """Return the newest kept connection that is still open; adds those that must be closed to `dead`."""
        if self._idle[0][0] + MAX_IDLE <= self._now():
            dead += self._old()
        while self._idle:
            _, connection = self._idle.pop()
            if connection.readable:
                dead.append(connection)
                continue
            self._busy.add(connection)
            return connection
        return None

    def _old(self) -> list[Connection]:
        """Take out the connections that were idle for too long; they are the first in the list."""
        now, old = self._now(), []
        while self._idle and self._idle[0][0] + MAX_IDLE <= now:  # the same sum that `run` sleeps until
            old.append(self._idle.pop(0)[1])
        return old

    def keep(self, connection: Connection) -> bool:
        """Take a connection back, to keep it if it can carry another request; returns False if it must be closed."""
        self._busy.discard(connection)
        idle = self._idle
        if not connection.reusable or self._closed or len(idle) >= MOST_IDLE:
            return False
        idle.append((self._now(), connection))
        if len(idle) == 1:
            self._kept.set()
        return True

    def engine_ended(self) -> None:
        """Note that the engine has ended by itself, and let no more requests in.

        Requests in flight read the rest of what the engine sent and close their connections themselves: from now on
        `close` leaves those alone.
        """
        self._closed = True
        for connection in self._busy:
            connection.engine_ended()
        self._busy.clear()

    async def close(self) -> None:
        """Close every connection; requests that use one get `Disconnected`. Works in a cancelled task."""
        self._closed = True
        await self.hang_up()

    async def hang_up(self) -> None:
        """Close every connection, as there is nobody at the other end any more who would do it: requests that use one
        get `Disconnected`, and are not sent again by themselves. Later ones may be sent. Works in a cancelled task.
        """
        connections = [*self._busy, *(connection for _, connection in self._idle)]
        self._busy.clear()
        self._idle.clear()
        for connection in connections:
            await connection.close()


def _check_path(target: bytes, open_paths: tuple[str, ...]) -> None:
    path = unquote(target.partition(b"?")[0].decode("latin-1"))
    if ".." in path or not any(fnmatchcase(path, pattern) for pattern in open_paths):
        raise NotFound(
            f"{path[:200]} of the model's engine is not for clients: the engine runs in its development mode, so that "
            "llmsup can put it to sleep.",
            hint="With `sleep = 0` for the model, all of its paths are open.",
        )
