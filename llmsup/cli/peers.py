"""`llmsup peers`: the other servers whose models are served here, and how they fare."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

from ..errors import Error
from ..process.lines import visible
from ..units import Bytes, format_bytes, format_seconds
from . import cells, completing
from .client import Client, Refused
from .options import json_option, url_option
from .table import Column, Table, width
from .target import connect

Entry = dict[str, Any]

NOTHING = "-"

NONE = (
    "There are no peers. A table in the config adds one, and its models are served here, too:\n\n"
    '  [peers.studio]\n  url = "http://studio.local:5005"    # llmsup, llama-swap, Ollama, LM Studio, vLLM, …\n\n'
    "It is applied as soon as the file is written, or by `llmsup reload` where `watch_config` is false."
)


@click.command("peers")
@click.argument("name", required=False, metavar="[PEER]", shell_complete=completing.peers)
@click.option("-w", "--watch", "watched", is_flag=True, help="Show it anew each second, until Ctrl-C.")
@url_option
@json_option
def command(name: str | None, url: str | None, watched: bool, as_json: bool) -> None:
    """Show the other servers whose models are served here.

    They are the config's [peers.NAME] tables. IN FLIGHT counts the requests that were sent there from here. A peer that
    is down gets none until it answers again. With PEER, its models are shown. With --json, --watch prints a line each
    second.

    \b
    Example:
      llmsup peers
      llmsup peers studio
    """
    client = connect(url)

    def picture() -> list[str]:
        told: list[Entry] = client.get("/peers")["peers"]
        chosen = told if name is None else [one(told, name)]
        if as_json:
            value = {"peers": told} if name is None else chosen[0]
            return [json.dumps(value, indent=None if watched else 2)]
        if not told:
            return NONE.splitlines()
        return list(shown(table(chosen, time.time())) if name is None else whole(chosen[0], time.time()))

    if watched:
        from .watch import watch

        watch(picture, apart=not as_json)
    for line in picture():
        click.echo(line)


def one(peers: Sequence[Entry], name: str) -> Entry:
    """The peer of that name. Raises Error."""
    for peer in peers:
        if peer["name"] == name:
            return peer
    names = [str(peer["name"]) for peer in peers]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names)}." if names else ""
    raise Error(f"There is no peer {name!r}.", hint=hint or "The config has no [peers.NAME] table.")


def asked(client: Client) -> list[Entry]:
    """`/peers`, for commands that show more than that; none of an older server, which has no such path."""
    try:
        peers: list[Entry] = client.get("/peers")["peers"]
    except Refused as refused:
        if refused.refusal != "not_found":
            raise
        return []
    return peers


def notes(peers: Sequence[Entry], now: float) -> list[str]:
    """A line for each peer that is down or asleep, or works for us, for below the loaded models."""
    lines = []
    for peer in peers:
        if peer["state"] in ("down", "asleep", "waking"):
            lines.append(f"{peer['name']} is {peer['state']}: {why(peer, now)}.")
        elif peer["in_flight"]:
            lines.append(f"{peer['name']} has {work(peer)}.")
    return lines


def work(peer: Entry) -> str:
    """What it does for us, by model: "3 requests in flight: qwen3-32b 2, llama-70b 1"."""
    count = peer["in_flight"]
    by_model = [f"{model['name']} {model['in_flight']}" for model in peer["models"] if model["in_flight"]]
    named = f": {', '.join(by_model)}" if by_model else ""
    return f"{count} request{'' if count == 1 else 's'} in flight{named}"


def doing(peer: Entry, now: float) -> str:
    """What it does, or why it doesn't, in a line."""
    if peer["state"] != "up":
        return why(peer, now)
    known = f"{loaded(peer)} of {len(peer['models'])} models loaded" if peer["models"] else "no models"
    return f"{known} · {work(peer)}" if peer["in_flight"] else known


def shown(made: Table) -> Iterator[str]:
    """A table's lines, for a terminal or for a program."""
    head, *blocks = made.blocks(width())
    yield from (click.style(line, bold=True) for line in head)
    yield from (line for block in blocks for line in block)


def table(peers: Sequence[Entry], now: float) -> Table:
    """The entries of `/peers` as a table; `now` is the wall clock, in Unix seconds."""
    columns = (
        Column("NAME"),
        Column("STATE"),
        Column("KIND"),
        Column("MODELS", right=True),
        Column("LOADED", right=True),
        Column("IN FLIGHT", right=True),
        Column("LATENCY", right=True),
        Column("WHY", prose=True),
    )
    rows = [
        [
            peer["name"],
            peer["state"],
            peer["kind"] or NOTHING,
            str(len(peer["models"])),
            loaded(peer),
            str(peer["in_flight"]),
            latency(peer),
            why(peer, now),
        ]
        for peer in peers
    ]
    return Table(columns, rows)


def loaded(peer: Entry) -> str:
    """How many models are in its own memory, as far as it tells: not those that servers behind it have."""
    own = [model for model in peer["models"] if not model.get("hops")]
    known = [model["loaded"] for model in own if model["loaded"] is not None]
    return str(sum(known)) if known else NOTHING


def latency(peer: Entry) -> str:
    """What its last answer took."""
    return NOTHING if peer["latency_seconds"] is None else format_seconds(peer["latency_seconds"])


def why(peer: Entry, now: float) -> str:
    """Why it is in its state, since when, and when it is asked again."""
    words = [str(peer["reason"]).rstrip(".") or NOTHING]
    if peer["state"] != "up":
        if peer["since"] is not None:
            words.append(f"for {cells.whole(now - peer['since'])}")
        if peer["next_probe_in"] is not None:
            soon = round(peer["next_probe_in"]) < 1
            words.append("asked again now" if soon else f"asked again in {cells.whole(peer['next_probe_in'])}")
    return ", ".join(words)


def whole(peer: Entry, now: float) -> Iterator[str]:
    """One peer, and its models."""
    kind = " ".join(filter(None, (peer["kind"] or "a server of unknown kind", peer["version"])))
    yield visible(f"{peer['name']} is {peer['state']}: {why(peer, now)}.")
    yield visible(f"It is {kind}, at {peer['url']}{_memory(peer['memory'])}.")
    yield _requests(peer)
    if peer.get("note"):  # older servers don't tell
        yield visible(f"Note: {peer['note']}.")
    yield ""
    if peer["models"]:
        yield from shown(models(peer["models"]))
    else:
        yield "It has no models that `models` in its table lets in." if peer["state"] == "up" else "No model is known."


def _memory(memory: Entry | None) -> str:
    if not memory or memory["used_bytes"] is None:
        return ""
    most = memory["ceiling_bytes"]
    of = "" if most is None else f" of {format_bytes(Bytes(most))}"
    used = f", with {format_bytes(Bytes(memory['used_bytes']))}{of} taken by models"
    left = memory["available_bytes"]
    return used if left is None else f"{used}, {format_bytes(Bytes(left))} left"


def _requests(peer: Entry) -> str:
    had = "1 request" if peer["requests"] == 1 else f"{peer['requests']} requests"
    failed = f", of which it failed {peer['failed']}" if peer["failed"] else ""
    return f"It has had {had} since llmsup started{failed}; {peer['in_flight']} in flight now."


def models(entries: Sequence[Entry]) -> Table:
    """The models of a peer."""
    columns = [
        Column("MODEL"),
        Column("STATE"),
        Column("REQUESTS", right=True),
        Column("CONTEXT", right=True),
        Column("MEMORY", right=True),
        Column("LOADS IN", right=True),
        Column("HERE TOO"),
    ]
    rows = [
        [
            entry["name"],
            state(entry),
            _busy(entry),
            NOTHING if entry["context_length"] is None else str(entry["context_length"]),
            NOTHING if entry["needs_bytes"] is None else format_bytes(Bytes(entry["needs_bytes"])),
            NOTHING if entry["load_seconds"] is None else format_seconds(entry["load_seconds"]),
            "yes" if entry["also_here"] else "no",
        ]
        for entry in entries
    ]
    if any(entry["hops"] for entry in entries):  # few have others between them and the engine
        columns.append(Column("SERVERS BETWEEN", right=True))
        rows = [[*row, str(entry["hops"])] for row, entry in zip(rows, entries, strict=True)]
    return Table(columns, rows)


def state(model: Entry) -> str:
    """Of a model of a peer, in a word."""
    if model["loading"]:
        return "loading"
    return {True: "loaded", False: "unloaded", None: NOTHING}[model["loaded"]]


def _busy(model: Entry) -> str:
    """Requests that it has there, of how many at once: "3 of 4"."""
    count = max(model["in_flight"], model["busy"] or 0)
    if not count and model["busy"] is None:
        return NOTHING
    return str(count) if model["slots"] is None else f"{count} of {model['slots']}"
