"""Servers on other machines, as far as requests see them, and a llmsup that has them for peers. Nobody watches these: a
test says what they offer and how they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from serving import Served, serving

import llmsup.tree
from llmsup.config.schema import ModelSpec, PeerSpec
from llmsup.engines.address import TcpAddress
from llmsup.engines.pool import ConnectionPool
from llmsup.peers.offer import Offer
from llmsup.peers.peer import Peer, PeerState
from llmsup.peers.peers import Peers

STREAM = b'data: {"choices": [{"delta": {"content": "far"}}]}\n\ndata: [DONE]\n\n'


class Machine:
    """A server on another machine, and the peer that it is to us.

    Attributes:
        peer: The peer; `woken` lets those in who wait for it.
        requests: The heads and bodies that came.
        does: What it does with a request: "answers", "hangs up", "breaks off" (mid-answer), "waits" (for `goes_on`),
            or a status, as digits; or bytes, the answer itself, after which it hangs up.
        then: What comes after these bytes, once it `goes_on`.
        left: How many of its connections have ended.
        broke, answered: What requests reported.
        can_wake: It can be woken.
    """

    def __init__(self, name: str, port: int, **spec: Any) -> None:
        self.requests: list[tuple[bytes, Any]] = []
        self.does: str | bytes = "answers"
        self.then = b""
        self.goes_on = trio.Event()
        self.left = 0
        self.broke: list[str] = []
        self.answered = 0
        self.awake = trio.Event()
        self.can_wake = True
        self.port = port
        machine = self

        class Reporting(Peer):
            def broke(self, reason: str) -> None:
                super().broke(reason)
                machine.broke.append(reason)

            def answered(self) -> None:
                machine.answered += 1

            async def woken(self) -> None:
                await machine.awake.wait()
                self.state = PeerState.UP

        pool = ConnectionPool.to(TcpAddress("127.0.0.1", port, headers=((b"authorization", b"Bearer its-key"),)))
        self.peer = Reporting(PeerSpec(name=name, url=f"http://{name}:{port}", **spec), pool)
        self.peer.state, self.peer.kind = PeerState.UP, "llmsup"
        self.peer.identity = f"id-of-{name}"

    def offers(self, *offers: Offer) -> None:
        self.peer.offers = {offer.name: offer for offer in offers}

    @property
    def bodies(self) -> list[Any]:
        return [body for _, body in self.requests]

    def header(self, name: bytes) -> bytes:
        """One header of the last request."""
        lines = self.requests[-1][0].split(b"\r\n")[1:]
        return next((line.split(b": ", 1)[1] for line in lines if line.lower().startswith(name + b":")), b"")

    async def serve(self, stream: trio.SocketStream) -> None:
        try:
            async with stream:
                data = b""
                while piece := await stream.receive_some():
                    data += piece
                    head, blank, body = data.partition(b"\r\n\r\n")
                    lengths = (line[15:] for line in head.split(b"\r\n") if line[:15] == b"content-length:")
                    if not blank or len(body) < int(next(lengths, b"0")):
                        continue
                    data = b""
                    self.requests.append((head, msgspec.json.decode(body) if body[:1] == b"{" else body))
                    if not await self._answer(stream, b'"stream":true' in body.replace(b" ", b"")):
                        return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.left += 1

    async def _answer(self, stream: trio.SocketStream, streams: bool) -> bool:
        """Returns whether the connection is good for another request."""
        if self.does == "hangs up":
            return False
        if isinstance(self.does, bytes):
            await stream.send_all(self.does)
            if self.then:
                await self.goes_on.wait()
                await stream.send_all(self.then)
            return False
        if self.does == "waits":
            async with trio.open_nursery() as nursery:  # ends, too, when the other side leaves

                async def watch() -> None:
                    await stream.receive_some()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(watch)
                await self.goes_on.wait()
                nursery.cancel_scope.cancel()
            if not self.goes_on.is_set():
                return False
        name = self.peer.name
        answer = STREAM if streams else msgspec.json.encode({"choices": [{"message": {"content": name}}], "at": name})
        kind = b"text/event-stream" if streams else b"application/json"
        status = b"200 OK"
        if self.does.isdigit():
            status, kind = b"%b Sorry" % self.does.encode(), b"application/json"
            answer = msgspec.json.encode({"error": {"message": f"{name} says {self.does}", "code": "said"}})
        head = b"HTTP/1.1 %b\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % (status, kind)
        if self.does == "breaks off":
            half = answer[: len(answer) // 2]
            await stream.send_all(head + b"%x\r\n%b\r\n" % (len(half), half))
            return False
        await stream.send_all(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(answer), answer))
        return True


@asynccontextmanager
async def with_peers(
    monkeypatch: pytest.MonkeyPatch, *models: ModelSpec, names: str = "studio box", **more: Any
) -> AsyncIterator[tuple[Served, dict[str, Machine], Callable[[], object]]]:
    """A llmsup with these models and peers; also gives what has it look at the peers again. All counters of what is
    under way are back at zero when the block is left.
    """
    async with trio.open_nursery() as nursery:
        machines: dict[str, Machine] = {}
        for name in names.split():
            listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
            machines[name] = machine = Machine(name, listener.socket.getsockname()[1])
            nursery.start_soon(partial(trio.serve_listeners, machine.serve, [listener], handler_nursery=nursery))

        class Given(Peers):
            def __init__(self, *parts: Any) -> None:
                super().__init__(*parts)
                self.all = {name: machine.peer for name, machine in machines.items()}
                for peer in self.all.values():
                    peer.announce = self.notify

            async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
                task_status.started()
                await trio.sleep_forever()

        monkeypatch.setattr(llmsup.tree, "Peers", Given)
        async with serving(*models, **more) as served:
            served.tree.serving.update()
            yield served, machines, served.tree.serving.update
            for machine in machines.values():
                assert not machine.peer.ours.total(), f"{machine.peer.name} has not been left"
            for model in served.fleet.models.values():
                assert not model.queue.busy
        for machine in machines.values():
            await machine.peer.pool.close()
        nursery.cancel_scope.cancel()
