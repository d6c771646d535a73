"""What a pull is going to do, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..process.lines import visible
from ..units import format_bytes
from .table import Column, Table

if TYPE_CHECKING:
    from ..downloads.plan import Plan, Wanted


def show_plan(plan: Plan) -> None:
    """Print the files, where they go, and whether the model fits."""
    chosen = f"{plan.option.tag}{plan.why and f', {plan.why}'}"
    others = "; ".join(map(str, plan.others))
    _say(f"{plan.listing.repo}: {chosen}.{others and f' There are also {others}.'}")
    rows = [(each.target.name, format_bytes(each.file.size), _state(each)) for each in _by_name(plan)]
    Table((Column("FILE"), Column("SIZE", right=True), Column("STATE")), rows).show()
    _say(f"Into {plan.folder}: {format_bytes(plan.missing)} to fetch, {format_bytes(plan.free)} free.")
    if plan.fit is not None and plan.fit.fits:
        _say(f"It fits: it needs {plan.fit}.")
        if plan.fit.reduced:
            _say(f"Its whole context would not: set ctx_size = {plan.fit.tokens} for it, or as [defaults].")


def as_data(plan: Plan) -> dict[str, Any]:
    """For programs: sizes in bytes; what wasn't looked at is null."""
    return {
        "repo": plan.listing.repo,
        "commit": plan.listing.commit,
        "quantisation": plan.option.quant or None,
        "why": plan.why or None,
        "others": [{"tag": other.tag, "bytes": other.size} for other in plan.others],
        "files": [
            {"path": str(each.target), "bytes": each.file.size, "missing_bytes": each.missing}
            for each in _by_name(plan)
        ],
        "missing_bytes": plan.missing,
        "free_bytes": plan.free,
        "room": plan.room,
        "fits": plan.fit and plan.fit.fits,
        "needs_bytes": plan.fit and plan.fit.needs,
        "ceiling_bytes": plan.fit and plan.fit.ceiling,
        "ctx_size": plan.fit.tokens if plan.fit and plan.fit.reduced else None,
        "misfit": plan.misfit and str(plan.misfit),
    }


def _by_name(plan: Plan) -> list[Wanted]:
    return sorted(plan.files, key=lambda each: each.target.name)


def _state(wanted: Wanted) -> str:
    if wanted.there:
        return "there"
    come = wanted.file.size - wanted.missing
    return f"{format_bytes(come)} have come" if come else "to fetch"


def _say(text: str) -> None:
    click.echo(visible(text))
