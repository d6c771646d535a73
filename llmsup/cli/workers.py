"""The RPC workers as `llmsup ps` shows them, below the models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from ..process.lines import visible
from ..units import Bytes, format_bytes
from .client import Client, Refused
from .table import Column, Table, width


def workers(client: Client) -> Sequence[dict[str, Any]]:
    """The workers of `/rpc`; older servers have none."""
    try:
        found: list[dict[str, Any]] = client.get("/rpc")
    except Refused as error:
        if error.refusal == "not_found":
            return ()
        raise
    return found


def lines(found: Sequence[dict[str, Any]], told: Sequence[str] = ()) -> Iterator[str]:
    """A table of them, and why those that failed did unless a model's failure (`told`) says so; nothing if there are
    none.
    """
    if not found:
        return
    columns = [
        Column("RPC WORKER"),
        Column("STATE"),
        Column("REACHED"),
        Column("MEMORY", right=True),
        Column("MODELS"),
    ]
    rows = [
        [
            each["worker"],
            each["state"],
            f"ssh {each['ssh']}" if each["ssh"] else "here",
            _of(each["used_bytes"], each["memory_bytes"]),
            ", ".join(each["models"]) or "-",
        ]
        for each in found
    ]
    yield ""
    head, *blocks = Table(columns, rows).blocks(width())
    yield from (click.style(line, bold=True) for line in head)
    yield from (line for block in blocks for line in block)
    for each in found:
        if each["state"] == "failed" and not any(f"RPC worker {each['worker']} can't be used" in line for line in told):
            yield visible(f"RPC worker {each['worker']} failed: {each['reason'].rstrip('.')}.")


def _of(used: int, total: int | None) -> str:
    """How much of how much: "2.0 GiB of 24.0 GiB"."""
    return f"{format_bytes(Bytes(used))} of {'?' if total is None else format_bytes(Bytes(total))}"
