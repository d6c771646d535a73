"""`llmsup why`: why a model is in its state: what was decided about it, by which numbers, and its history, as the
server remembers it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from ..process.lines import visible
from ..units import Bytes, format_bytes, format_seconds
from .client import model_path
from .loads import load_rate
from .options import json_option, model_argument, url_option
from .table import Column, Table
from .target import connect
from .why_prompt import sentences, table
from .why_where import where_lines

Answer = Mapping[str, Any]

CAUSES = {
    "idle": "idle",
    "room": "to make room",
    "pressure": "under memory pressure",
    "asked": "asked for",
    "changed": "changed",
    "crashed": "crashed",
    "failed": "could not be loaded",
    "stopped": "llmsup stopped",
}
"""Causes of an unload in words."""


@click.command("why")
@model_argument(required=True)
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=10, show_default=True, help="How many lines of its history."
)
@click.option("--prompt", is_flag=True, help="Show why its prompts were computed again, instead.")
@url_option
@json_option
def command(model: str, lines: int, prompt: bool, url: str | None, as_json: bool) -> None:
    """Show why a model is loaded, waiting, or unloaded.

    LOSS is what unloading a model would cost: the seconds that a reload takes, times the chance that the model is
    wanted again soon. Among models of equal priority those with the least loss are unloaded first.

    \b
    Example:
      llmsup why qwen3-4b
      llmsup why --prompt qwen3-4b
    """
    answer = connect(url).get(model_path("/prompts" if prompt else "/memory", model))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    now = time.time()
    if prompt:
        for line in sentences(answer):
            click.echo(visible(line))
        if answer["last"] and lines:
            click.echo()
            table(answer, lines, now).show()
        return
    for line in state_lines(answer, now):
        click.echo(visible(line))
    past = answer["history"][max(0, len(answer["history"]) - lines) :]
    if past:
        click.echo()
        history(past, now, answer["model"]).show()
    if (last := last_decision(answer)) and last["weighed"]:
        click.echo()
        click.echo("The models that were considered when memory was last short:")
        click.echo()
        candidates(last).show()


def state_lines(answer: Answer, now: float) -> Iterator[str]:
    """The model's state, in sentences."""
    name, counts = answer["model"], answer["counts"]
    if not answer.get("here", True):
        yield f"{name} has no engine here{answer['reason'].removeprefix('it has no engine here')}."
        yield from where_lines(answer)
        return
    since = f", {ago(answer['since'], now)}" if answer["since"] is not None else ""
    yield f"{name} is {answer['state']}{since}: {_why(answer['reason'], name)}."
    if answer["waits_for"]:
        yield f"It waits for memory: {answer['waits_for']}."
    if loaded := answer["loaded"]:
        size, source = format_bytes(Bytes(loaded["footprint_bytes"])), loaded["footprint_source"]
        yield f"It takes {size} ({source}); unloading it would free {format_bytes(loaded['freeable_bytes'])}."
        if loaded["grows_bytes"]:
            more = format_bytes(Bytes(loaded["grows_bytes"]))
            yield f"It can grow by {more} for cached prompts; no other model is unloaded for that."
        loss = f"that would cost {loaded['loss_seconds']:.3g} s of expected reload"
        may = f"It can't be unloaded now: {loaded['stays']}" if loaded["stays"] else "It could be unloaded now"
        saved = loaded.get("save_seconds")  # older servers don't have it
        first = f", after {format_seconds(round(saved, 1))} for saving its conversations" if saved else ""
        yield f"{may}; {loss}{first}."
    yield from where_lines(answer)
    yield from _loading(answer)
    yield from _context(answer["context"])
    yield from _kept(answer["prompt_cache"])
    pressure = answer["pressure"]
    if pressure["nothing_unloaded"]:
        short = (
            f"memory pressure is {pressure['level']}" if pressure["level"] != "normal" else "the models take too much"
        )
        yield f"Nothing is unloaded although {short}: {pressure['nothing_unloaded']}."
    if counts["loads"] or counts["requests"]:
        yield _so_far(counts)


def _loading(answer: Answer) -> Iterator[str]:
    """How fast it was loaded, and how fast it would be again."""
    load, then = answer.get("load"), answer.get("next_load")  # older servers have neither
    if load:
        why = f": {load['why']}" if load["why"] else ""
        yield f"Its last load took {format_seconds(answer['load_seconds'])}, {load_rate(load)}{why}."
    if then and then["cached_share"] is not None and then["seconds"] >= 0.001:  # less is nothing to read
        share = f"{then['cached_share']:.0%} of its file is in the page cache now"
        yield f"Loading it{' again' if load else ''} should take {format_seconds(then['seconds'])}: {share}."


def _context(context: Answer) -> Iterator[str]:
    """What clients would have it be, where it isn't so."""
    wanted, served = context["wanted"], context["served"]
    if wanted and wanted != served:
        has = f"a request can have {served:,}" if served else "how many it has is not known"
        yield f"A client asked for a context of {wanted:,} tokens (num_ctx), and {has}: `ctx_size` sets that."


def _kept(kept: Answer) -> Iterator[str]:
    """What becomes of its conversations when it is unloaded."""
    if kept["able"] == "no":
        yield f"Conversations don't survive an unload: {kept['reason']}."
    elif kept["able"] == "exact":
        yield f"Conversations survive an unload where they go on exactly as they were: {kept['reason']}."
    else:
        yield "Conversations survive an unload."
    if kept["saved"]:
        many = "1 conversation is" if kept["saved"] == 1 else f"{kept['saved']} conversations are"
        yield f"{many} on the disk: {kept['tokens']:,} tokens, {format_bytes(Bytes(kept['bytes']))}."
    if kept["hits"]:
        took = format_seconds(kept["seconds_saved"])
        yield f"{_times(kept['hits']).capitalize()} one went on: {kept['tokens_saved']:,} tokens, about {took} saved."
    elif kept["restores"] and not kept["misses"]:
        were = "1 conversation was" if kept["restores"] == 1 else f"{kept['restores']} conversations were"
        yield f"Since llmsup started {were} restored; no answer has told yet whether that was of use."
    if kept["cold"]:
        yield f"They began anew after the last load: {kept['cold']}."


def _so_far(counts: Answer) -> str:
    unloads = [f"{count} {CAUSES.get(cause, cause)}" for cause, count in counts["unloads"].items()]
    gone = f", unloaded {_times(sum(counts['unloads'].values()))} ({', '.join(unloads)})" if unloads else ""
    soon = f", {_times(counts['refaults'])} wanted again soon after an eviction" if counts["refaults"] else ""
    requests = "1 request" if counts["requests"] == 1 else f"{counts['requests']} requests"
    waited = f"{requests} waited {format_seconds(counts['waited_seconds'])} altogether"
    asked = waited if counts["requests"] else "no requests yet"
    return f"Since llmsup started: loaded {_times(counts['loads'])}{gone}{soon}; {asked}."


def _why(reason: str, name: str) -> str:
    """A reason without the model's name, which the line already has."""
    return str(reason).removeprefix(f"{name} was unloaded: ").removeprefix(f"{name} ").rstrip(".")


def history(entries: Sequence[Answer], now: float, name: str) -> Table:
    """The history of the model of that name, oldest first."""
    columns = (Column("WHEN"), Column("WHAT"), Column("FREED", right=True), Column("WHY", prose=True))
    rows = []
    for entry in entries:
        freed = "" if entry["freed_bytes"] is None else format_bytes(Bytes(entry["freed_bytes"]))
        rows.append([ago(entry["at"], now), str(entry["what"]), freed, _why(entry["reason"], name)])
    return Table(columns, rows)


def last_decision(answer: Answer) -> Answer | None:
    """The last decision about memory in the model's history: an eviction or an admission."""
    decisions: list[Answer] = [entry["decision"] for entry in answer["history"] if entry["decision"]]
    return decisions[-1] if decisions else None


def candidates(decision: Answer) -> Table:
    """The models that a decision considered, the least worth keeping first."""
    columns = (
        Column("MODEL"),
        Column("MEMORY", right=True),
        Column("LOSS", right=True),
        Column("STAYED BECAUSE", prose=True),
    )
    rows = []
    spared = "the others were enough" if decision["victims"] else "-"
    for each in decision["weighed"]:
        loss = "" if each["loss_seconds"] is None else f"{each['loss_seconds']:.3g} s"
        stayed = "(unloaded)" if each["model"] in decision["victims"] else each["stays"] or spared
        rows.append([each["model"], format_bytes(Bytes(each["footprint_bytes"])), loss, stayed])
    return Table(columns, rows)


def ago(at: float, now: float) -> str:
    """How long ago a time was: "5 s ago"."""
    return f"{format_seconds(max(round(now - at), 0))} ago" if now - at >= 1 else "just now"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
