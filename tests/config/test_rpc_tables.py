"""[rpc.NAME]: what is read, and what is told of one that is wrong."""

from __future__ import annotations

from functools import partial

import pytest

from llmsup.config.load import parse as parse_for
from llmsup.config.rpc import is_loopback
from llmsup.config.schema import GiB, RpcSpec
from llmsup.engines.kinds import KINDS
from llmsup.errors import ConfigError

parse = partial(parse_for, engines=KINDS.words)

COMMAND = "command = 'ggml-rpc-server -H 127.0.0.1 -p ${PORT}'"


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f", {})
    return [line.replace(" @ f: ", " @ ") for line in caught.value.mistakes]


def test_workers_are_read() -> None:
    config = parse(
        f"""
        [rpc.box]
        {COMMAND}
        ssh = "-p 2222 me@box"
        memory = "24GiB"
        ttl = "never"
        [rpc.near]
        url = "[::1]:50052"
        [models.big]
        path = "/m.gguf"
        rpc = ["near", "box"]
        """,
        "f",
        {},
    )
    box, near = config.rpc["box"], config.rpc["near"]
    assert box.command == ("ggml-rpc-server", "-H", "127.0.0.1", "-p", "${PORT}")
    assert (box.ssh, box.memory, box.ttl) == (("-p", "2222", "me@box"), 24 * GiB, float("inf"))
    assert near == RpcSpec(name="near", url="[::1]:50052")
    assert config.models["big"].rpc == ("near", "box")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[rpc.a]", "a worker needs 'command', to start it, or 'url', the HOST:PORT of one that runs anyway @ rpc.a"),
        (f"[rpc.a]\n{COMMAND}\nurl = '127.0.0.1:1'", "both 'url' and 'command' are set"),
        ("[rpc.a]\nurl = 'http://127.0.0.1:1'", "is not HOST:PORT"),
        ("[rpc.a]\nurl = ':50052'", "doesn't say where the worker is"),
        ("[rpc.a]\nurl = '10.0.0.3:50052'", "is not on this machine's loopback; an RPC worker has no authentication"),
        ("[rpc.a]\nurl = 'box.local:50052'", 'set ssh = "USER@HOST" @ rpc.a.url'),
        ("[rpc.a]\nurl = 'box.local:50052'\nssh = 'me@box'", "is not on this machine's loopback"),
        ("[rpc.a]\ncommand = 'w -H 0.0.0.0 -p ${PORT}'", "would listen on '0.0.0.0', where anybody could use it"),
        ("[rpc.a]\ncommand = 'w --host=10.1.2.3 -p ${PORT}'\nssh = 'me@b'", "write -H 127.0.0.1 @ rpc.a.command"),
        ("[rpc.a]\ncommand = 'w -H 127.0.0.1'", "the command doesn't use ${PORT}"),
        ("[rpc.a]\ncommand = 'w -p ${PORT} ${PATH}'", "unknown placeholder '${PATH}'"),
        (
            "[rpc.a]\nurl = '127.0.0.1:7'\n[rpc.b]\nurl = 'localhost:7'",
            "[rpc.a] is the same worker (which serves one engine at a time): leave one of the two out @ rpc.b.url",
        ),
        (
            "[rpc.a]\nurl = '[::1]:7'\nssh = 'me@b'\n[rpc.b]\nurl = '[0::1]:7'\nssh = 'me@b'",
            "[rpc.a] is the same worker",
        ),
        (f"[rpc.a]\n{COMMAND}\nssh = ''", "its last word must be the machine to connect to"),
        (f"[rpc.a]\n{COMMAND}\nssh = 'me@b -N'", "its last word must be the machine to connect to"),
        (f"[rpc.a]\n{COMMAND}\nssh = '-p 2222'", "its last word must be the machine to connect to"),
        (f"[rpc.a]\n{COMMAND}\nssh = '-i key'", "its last word must be the machine to connect to"),
        (f"[rpc.a]\n{COMMAND}\nssh = ['-p', '22', '']", "its last word must be the machine to connect to"),
        (f"[rpc.a]\n{COMMAND}\nssh = 'me@studio; rm -rf /'", "but 'rm -rf /' follows 'me@studio;'"),
        (f"[rpc.a]\n{COMMAND}\nssh = 'me@b uname'", "but 'uname' follows 'me@b': options come before it"),
        (f"[rpc.a]\n{COMMAND}\nssh = ['me@studio; reboot']", "'me@studio; reboot' is not a machine's name for ssh"),
        (f"[rpc.a]\n{COMMAND}\nssh = ['$(reboot)']", "'$(reboot)' is not a machine's name for ssh"),
        (f"[rpc.a]\n{COMMAND}\nssh = ['me@-oProxyCommand=reboot']", "is not a machine's name for ssh"),
        (f"[rpc.a]\n{COMMAND}\nssh = ['--', '-oProxyCommand=reboot']", "the machine to connect to"),
        ("[rpc.a]\ncommand = '~/w -p ${PORT}'\nssh = 'me@b'", "'~/' would be this machine's home"),
        ("[rpc.a]\ncommand = ['w', '-p', '${PORT}', '~/c']\nssh = 'me@b'", "'~/' would be this machine's home"),
        (
            f"[rpc.a]\n{COMMAND}\n[models.m]\npath = '/m'\nrpc = ['a']\nargs = ['--device', 'none']",
            "'--device' would keep the engine from its workers",
        ),
        (f"[rpc.a]\n{COMMAND}\n[models.m]\npath = '/m'\nrpc = ['a']\nargs = ['-dev=x']", "@ models.m.args"),
        (f"[rpc.a]\n{COMMAND}\nmemory = 0", "must be more than 0"),
        (f"[rpc.a]\n{COMMAND}\nport = 1", "unknown key 'port'"),
        (f"[rpc.box]\n{COMMAND}\n[models.m]\npath = '/m'\nrpc = ['bux']", "(did you mean 'box'?) @ models.m.rpc"),
        ("[models.m]\npath = '/m'\nrpc = ['box']", "no RPC worker is called 'box': add [rpc.NAME] @ models.m.rpc"),
        (f"[rpc.a]\n{COMMAND}\n[models.m]\npath = '/m'\nrpc = ['a', 'a']", "it names a worker twice"),
        (f"[rpc.a]\n{COMMAND}\n[models.m]\ncommand = 'x ${{PORT}}'\nrpc = ['a']", "is told of no workers"),
        (f"[rpc.a]\n{COMMAND}\n[models.m]\npath = '/m'\nrpc = ['a']\ndevices = ['CUDA0']", "@ models.m.devices"),
    ],
)
def test_what_is_wrong_is_told(text: str, said: str) -> None:
    assert any(said in line for line in mistakes(text)), mistakes(text)


@pytest.mark.parametrize(
    "ssh",
    [
        *("box", "me@box.local", "-p2222 me@box", "-4p 2222 -i ~/.ssh/id me@10.0.0.3", "-o Port=22 -J me@gate box"),
        *("ssh://me@box:2222", "me@fe80::1%eth0", "DOMAIN\\\\me@box", "ssh://me@[::1]:22", "-Av my_box"),
    ],
)
def test_machines_for_ssh(ssh: str) -> None:
    assert parse(f"[rpc.a]\n{COMMAND}\nssh = '{ssh}'", "f", {}).rpc["a"].ssh


def test_the_same_port_elsewhere_is_another_worker() -> None:
    tables = "[rpc.a]\nurl = '127.0.0.1:7'\n[rpc.b]\nurl = '127.0.0.1:7'\nssh = 'me@b'\n[rpc.c]\nurl = '127.0.0.1:8'"
    assert len(parse(tables, "f", {}).rpc) == 3


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *(("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("LocalHost", True)),
        *(("0.0.0.0", False), ("::", False), ("localhost.evil.org", False), ("10.0.0.1", False), ("", False)),
    ],
)
def test_the_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local
