"""What etc/scale/ ships for those who put others in front: nginx's is run, the values of the others are looked at."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import trio
import yaml
from nginx_run import nginx
from serving import PATIENCE, Served, fake, serving

from llmsup.config.schema import ModelSpec, Server
from llmsup.units import Seconds

SHIPPED = Path(__file__).parents[2] / "etc" / "scale"
SESSIONS = [f"session {number}" for number in range(24)]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short, because a socket's path may have no more than 104 bytes on macOS."""
    return tmp_path_factory.mktemp("scale")


def shipped(folder: Path, *behind: Served) -> str:
    """nginx's file, for a socket and these ports."""
    text = (SHIPPED / "nginx.conf").read_text().replace("listen 8080;", f"listen unix:{folder}/socket;")
    for written, served in zip(("127.0.0.1:5005", "127.0.0.1:5006"), behind, strict=True):
        assert written in text
        text = text.replace(written, f"127.0.0.1:{served.client.port}")
    return text


async def ask(socket: Path, session: str, *, stream: bool = False) -> bytes:
    """A whole answer, head and all."""
    data = json.dumps({"model": "m", "stream": stream, "messages": []}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: models.lan\r\nConnection: close\r\n"
    head += f"X-Session-Affinity: {session}\r\n"
    got = b""
    async with await trio.open_unix_socket(str(socket)) as connection:
        await connection.send_all(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        with trio.fail_after(PATIENCE):
            while part := await connection.receive_some():
                got += part
    return got


def who(answer: bytes) -> str:
    """Which llmsup has answered: the engine of the second says one token more."""
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return "two" if b"token1" in answer else "one"


@pytest.mark.slow
async def test_a_session_stays_where_it_is_and_goes_elsewhere_when_that_one_is_gone(folder: Path) -> None:
    async with (
        serving(fake("m", "--tokens", 1)) as one,
        serving(fake("m", "--tokens", 2)) as two,
        nginx(folder, shipped(folder, one, two)) as socket,
    ):
        homes = [who(await ask(socket, session)) for session in SESSIONS]
        assert set(homes) == {"one", "two"}
        assert [who(await ask(socket, session)) for session in SESSIONS] == homes
        two.tree.stop()
        with trio.fail_after(PATIENCE):
            while b" 200 " not in (await ask(socket, SESSIONS[homes.index("two")]))[:20]:
                pass  # until it listens no more, those that reach it get 503 with Retry-After
        assert {who(await ask(socket, session)) for session in SESSIONS} == {"one"}


@pytest.mark.slow
async def test_a_stream_that_waits_for_its_model_says_so_through_it(folder: Path) -> None:
    """Else every timeout between here and the client would have to be as long as a load."""
    comments = Server(loading_comments=Seconds(0.05))
    async with (
        serving(fake("m", "--load-time", 0.5), server=comments) as one,
        serving(fake("m", "--load-time", 0.5), server=comments) as two,
        nginx(folder, shipped(folder, one, two)) as socket,
    ):
        answer = await ask(socket, "mine", stream=True)
    assert answer.index(b": loading m ") < answer.index(b"data: ")


def waits() -> float:
    """Seconds that a request may wait for its model, by default."""
    return ModelSpec(name="m").queue_timeout


def test_nobody_in_front_gives_up_before_llmsup_does() -> None:
    """Their timeouts are longer than a request may wait here."""
    litellm = yaml.safe_load((SHIPPED / "litellm.yaml").read_text())
    assert litellm["litellm_settings"]["request_timeout"] > waits()
    envoy = yaml.safe_load((SHIPPED / "envoy.yaml").read_text())
    (listener,), (cluster,) = envoy["static_resources"]["listeners"], envoy["static_resources"]["clusters"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    route = manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
    assert (route["timeout"], route["cluster"]) == ("0s", cluster["name"])
    assert float(route["idle_timeout"].removesuffix("s")) > waits()
    assert float(manager["stream_idle_timeout"].removesuffix("s")) > waits()
    read = re.search(r"proxy_read_timeout (\d+)s;", (SHIPPED / "nginx.conf").read_text())
    assert read is not None
    assert int(read[1]) > waits()


def test_nobody_in_front_loads_models_to_see_whether_they_work() -> None:
    """LiteLLM would ask each for a completion; a health check is for /health."""
    litellm = yaml.safe_load((SHIPPED / "litellm.yaml").read_text())
    assert litellm["general_settings"]["background_health_checks"] is False
    assert all(each["model_info"]["disable_background_health_check"] for each in litellm["model_list"])
    envoy = yaml.safe_load((SHIPPED / "envoy.yaml").read_text())
    (check,) = envoy["static_resources"]["clusters"][0]["health_checks"]
    assert check["http_health_check"] == {"path": "/health", "host": "127.0.0.1"}  # a name would be refused
