"""A user's own command: placeholders and addresses."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from llmsup.config.schema import ModelSpec
from llmsup.engines.address import TcpAddress, UnixAddress
from llmsup.engines.command.launch import launch
from llmsup.engines.launch import Launch, mentions
from llmsup.engines.ports import free_port
from llmsup.errors import SetupError

SOCKET = Path("/run/x.sock")


def make(*command: str, model: Path | None = None, **settings: Any) -> Launch:
    spec = ModelSpec(name="m", command=command, **settings)
    return launch(spec, command=command, engine="command", model=model, socket=SOCKET, port=lambda: 4711)


def test_port_and_trailing_args() -> None:
    made = make("srv", "--port", "${PORT}", args=("--verbose", "--admin=${PORT}"), env={"A": "b"}, health="/h")
    assert made == Launch(
        engine="command",
        argv=("srv", "--port", "4711", "--verbose", "--admin=4711"),
        env={"A": "b"},
        address=TcpAddress("127.0.0.1", 4711),
        health="/h",
    )


def test_socket_path_name_and_args_in_place() -> None:
    made = make("srv", "-s", "${SOCKET}", "${ARGS}", "${PATH}:${NAME}", args=("-a", "b c"), model=Path("/x y.gguf"))
    assert made.argv == ("srv", "-s", "/run/x.sock", "-a", "b c", "/x y.gguf:m")
    assert made.address == UnixAddress(SOCKET)


def test_args_inside_a_shells_script_are_quoted() -> None:
    made = make("sh", "-c", "exec srv ${PORT} ${ARGS} ${HOME}", args=("b c",))
    assert made.argv == ("sh", "-c", "exec srv 4711 'b c' ${HOME}")


def test_sampling_goes_with_the_requests() -> None:
    made = make("srv", "${PORT}", sampling={"temperature": 1, "n_predict": 5, "samplers": "top_k;min_p"})
    assert made.body_defaults == {"temperature": 1, "max_tokens": 5, "samplers": ["top_k", "min_p"]}
    assert not make("srv", "${PORT}", kind="embedding", sampling={"temperature": 1}).body_defaults


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("srv", "--port", "8080"), r"does not say where to answer. Put \$\{PORT\}"),
        (("srv", "${PORT}", "${PATH}"), "has no path"),
        (("srv", "${PORT}", "${SOCKET}"), "both"),
        (("srv", "${PORT}", "${SOCKT}"), r"Did you mean \$\{SOCKET\}"),
        (("srv", "${PORT}", "${name}x${Names}"), r"unknown \$\{name\}. Did you mean \$\{NAME\}"),
    ],
)
def test_mistakes(command: tuple[str, ...], message: str) -> None:
    with pytest.raises(SetupError, match=message):
        make(*command)


def test_a_free_port_is_free() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))


def test_mentions() -> None:
    assert mentions(("a", "x${PORT}y"), "PORT")
    assert not mentions(("$PORT", "PORT"), "PORT")
