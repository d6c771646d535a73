"""The system is told to watch over connections; that it does is tried between machines, in tests/net."""

from __future__ import annotations

import socket

from llmsup.engines.keepalive import keep_alive


def test_a_connection_is_watched_over() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as own:
        keep_alive(own)
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle: int = getattr(socket, "TCP_KEEPIDLE", 0) or getattr(socket, "TCP_KEEPALIVE", 0)
        assert own.getsockopt(socket.IPPROTO_TCP, idle) == 15


def test_one_within_the_machine_needs_none() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as own:
        keep_alive(own)
        assert not own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
