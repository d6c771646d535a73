"""What `listen` binds."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from llmsup.errors import SetupError
from llmsup.web.server import listen


def bound(address: str) -> set[str]:
    """The hosts that are listened on."""
    sockets = listen(address)
    try:
        return {s.getsockname()[0] for s in sockets}
    finally:
        for each in sockets:
            each.close()


def test_what_can_not_be_listened_on() -> None:
    """Each says why, and what would help it."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SetupError) as caught:
        listen(f"127.0.0.1:{taken.getsockname()[1]}")
    assert "Address already in use. Is another llmsup running? Choose another address with" in str(caught.value)
    with pytest.raises(SetupError, match=r"192\.0\.2\.1:0: Cannot assign requested address\. Choose another"):
        listen("192.0.2.1:0")


def test_a_port_alone_is_every_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """As llama-swap and Ollama have it; of IPv4 alone, where the system has no IPv6."""
    assert bound("127.0.0.1:0") == {"127.0.0.1"}
    assert "0.0.0.0" in bound(":0")

    real = socket.socket

    def without_ipv6(family: int, *rest: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *rest)

    monkeypatch.setattr(socket, "socket", without_ipv6)
    assert bound(":0") == {"0.0.0.0"}
    with pytest.raises(SetupError, match="not supported"):
        listen("[::1]:0")
