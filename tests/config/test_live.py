"""The config in force is one cell, and a reload is one write."""

from __future__ import annotations

import attrs
import trio
import trio.testing

from llmsup.config.keys import hash_of
from llmsup.config.live import AT_START, LiveConfig, changed
from llmsup.config.schema import Config, KeySpec, Memory, ModelSpec, Server
from llmsup.units import Seconds


async def test_who_acts_on_a_new_one_is_woken(nursery: trio.Nursery) -> None:
    """With the new values in the cell."""
    cell, seen = LiveConfig(Config()), []

    async def follow() -> None:
        await cell.change()
        seen.append(cell.now.memory.interval)

    nursery.start_soon(follow)
    await trio.testing.wait_all_tasks_blocked()
    assert cell.replace(Config(memory=Memory(interval=Seconds(7)))) == ()
    await trio.testing.wait_all_tasks_blocked()
    assert seen == [Seconds(7)]


def test_what_only_a_start_looks_at_stays_as_it_is() -> None:
    """It is told in each reload for as long as the file says something else, and no longer."""
    cell = LiveConfig(Config(server=Server(listen="127.0.0.1:1")))
    new = Config(server=Server(listen="127.0.0.1:2", certfile="/c.pem", keyfile="/k.pem", max_queue=5))
    for _ in range(2):
        assert cell.replace(new) == ("server.listen", "server.certfile", "server.keyfile")
        server = cell.now.server
        assert (server.listen, server.certfile, server.keyfile, server.max_queue) == ("127.0.0.1:1", "", "", 5)
    assert cell.replace(Config(server=Server(listen="127.0.0.1:1", max_queue=6))) == ()
    assert cell.now.server.max_queue == 6


def test_what_has_changed_is_named() -> None:
    """Without values, which may be keys, and without models, of which a reload tells by themselves."""
    old = Config()
    key = KeySpec(name="laptop", hash=hash_of("x"))
    new = Config(
        server=Server(cors_origins=("https://a.example",), max_queue=5, listen="127.0.0.1:9"),
        keys={"laptop": key},
        memory=Memory(interval=Seconds(7)),
        models={"m": ModelSpec(name="m", path="/m.gguf")},
    )
    cell = LiveConfig(old)
    cell.replace(new)
    assert changed(old, old) == ()
    assert set(changed(old, cell.now)) == {"server.cors_origins", "server.max_queue", "keys", "memory.interval"}


def test_the_list_has_keys_of_the_schema() -> None:
    assert set(AT_START) <= {field.name for field in attrs.fields(Server)}
