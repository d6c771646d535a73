"""How a worker is come by: what is run for it, and where engines find it."""

from __future__ import annotations

import pytest

from llmsup.config.schema import RpcSpec
from llmsup.errors import SetupError
from llmsup.fleet.rpc.command import SSH, Way, way

COMMAND = ("/opt/a b/worker", "-H", "127.0.0.1", "-p", "${PORT}")


def found(**spec: object) -> Way:
    return way(RpcSpec(name="box", **spec), lambda: 4001, lambda: 20002)  # type: ignore[arg-type]


def test_one_of_this_machine() -> None:
    assert found(command=COMMAND) == Way((*COMMAND[:4], "4001"), "127.0.0.1:4001")


def test_one_that_runs_anyway() -> None:
    assert found(url="127.0.0.1:50052") == Way((), "127.0.0.1:50052", shared=True)


def test_one_that_is_started_by_ssh() -> None:
    """The command is quoted for the shell there, and ends with the connection; options of the user's come first."""
    expected = (
        *SSH,
        *("-tt", "-L", "127.0.0.1:4001:127.0.0.1:20002", "-p", "2222", "me@box"),
        "'/opt/a b/worker' -H 127.0.0.1 -p 20002",
    )
    assert found(command=COMMAND, ssh=("-p", "2222", "me@box")) == Way(expected, "127.0.0.1:4001", ssh=True)


def test_a_tunnel_to_one_that_runs_anyway() -> None:
    expected = (*SSH, "-N", "-L", "127.0.0.1:4001:[::1]:50052", "me@box")
    assert found(url="[::1]:50052", ssh=("me@box",)) == Way(expected, "127.0.0.1:4001", ssh=True, shared=True)


@pytest.mark.parametrize(
    "spec", [{"url": "10.0.0.3:50052"}, {"command": ("w", "-H", "0.0.0.0", "${PORT}"), "ssh": ("me@box",)}]
)
def test_none_that_others_could_reach(spec: dict[str, object]) -> None:
    """As in the config's check: a spec may come from elsewhere."""
    with pytest.raises(SetupError, match=r"RPC worker box: .*(no authentication|anybody could use it)"):
        found(**spec)
