"""The text of a starting config: the settings that users change most, and a block for each model that was found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..catalog.disk.lmstudio import model_roots
from ..catalog.found import Found, Snapshot
from ..config.checks import check_name
from ..config.sampling import PARAMETERS
from ..config.schema import Config, Server
from ..config.write import Table, can_say, comment, commented_out, document
from ..process.lines import visible
from ..units import format_bytes

_OFF = "#"
"""Before a key that is switched off; comments have a space after theirs."""

_KINDS = {"chat": "chat", "embedding": "embeddings", "rerank": "reranking"}
_CONTEXT = 16384

_HEADER = (
    "llmsup's config, written by `llmsup init`.",
    "",
    (
        "Every model that is found is served, whether it is listed here or not. A key after a # is not set:"
        " remove the # to set it. All keys and their meaning: etc/llmsup.toml in llmsup's repository."
    ),
    "",
    "  llmsup check     what is wrong with this file, and what each model would be started with",
    "  llmsup ls        every model, and whether it fits this machine",
    "  llmsup reload    apply a change at once; a running server applies it in a few seconds, if it has no mistakes",
)


def starting_config(config: Config, snapshot: Snapshot) -> str:
    """A config for the models that were found. It changes nothing until it is edited.

    Args:
        config: The config in force, whose roots, address and `state_dir` are kept.
    """
    served, others = parted(snapshot)
    parts: list[Table | str] = [_server(config, served), _catalog(config), _defaults(), _memory()]
    parts.append(_paragraphs(*_about(served, config)))
    taken = {name.casefold() for found in snapshot.models.values() for name in (found.id, *found.names)}
    parts += [_block(found, taken) for found in served]
    if others:
        reasons = [visible(f"- {found.id}: {_why_not(found)}") for found in others]
        parts.append(_paragraphs("Found, but not served:", *reasons))
    if snapshot.left_out:
        count = len(snapshot.left_out)
        files = (
            "1 more file is not served on its own" if count == 1 else f"{count} more files are not served on their own"
        )
        parts.append(_paragraphs(f"{files}: llmsup ls --left-out tells why"))
    return document(_HEADER, parts)


def parted(snapshot: Snapshot) -> tuple[list[Found], list[Found]]:
    """The models that are served, and those that can't be, each sorted by name."""
    models = _sorted(snapshot.models.values())
    return [found for found in models if not _why_not(found)], [found for found in models if _why_not(found)]


def _server(config: Config, served: list[Found]) -> Table:
    table = Table(("server",))
    table.put("listen", config.server.listen, '"0.0.0.0:5005" opens it to the network; set api_keys then.')
    _show(table, "api_keys", ["a-long-secret"])
    if config.server.state_dir != Server().state_dir:
        table.put("state_dir", _short(config.server.state_dir), "Where measurements and other state are kept.")
    if chat := next((found for found in served if found.facts.kind == "chat"), None):
        _show(table, "default_model", chat.id, "Used when a request names no model.")
    return table


def _catalog(config: Config) -> Table:
    table = Table(("catalog",))
    said = "Folders with GGUF files; by default LM Studio's. A folder may be missing for now."
    table.put("roots", [_short(root) for root in config.catalog.roots], said)
    ollama = config.catalog.ollama
    _show(
        table,
        "ollama",
        _short(ollama) if ollama else "",
        'Ollama\'s models are served from where they are; "" turns that off.',
    )
    _show(table, "serve_all", False, "Serves only the models that have a table below.")
    return table


def _defaults() -> Table:
    table = Table(("defaults",), above=["For every model; each key can also be set in a model's own table."])
    table.put("ttl", "30m", 'An idle model is unloaded after this long; "never" keeps it.')
    _show(table, "ctx_size", _CONTEXT, "Tokens of context; a model's own, and what memory allows, if it is not set.")
    _show(
        table, "sampling", {"temperature": 0.7, "top_n_sigma": 1.5}, "For requests without; any parameter of llama.cpp."
    )
    return table


def _memory() -> Table:
    table = Table(("memory",))
    _show(
        table,
        "limit",
        "48GiB",
        "What all models together may use; by default the machine's memory less a reserve.",
    )
    return table


def _about(served: list[Found], config: Config) -> Iterable[str]:
    if served:
        total = format_bytes(sum(found.size for found in served))
        yield f"--- {len(served)} model{'s' if len(served) != 1 else ''}, {total} ---"
        yield "A model needs a block only to change its settings; the block's name is the name to request it by."
    else:
        yield "--- No model was found. ---"
        looked = ", ".join(_short(root) for root in model_roots(config.catalog)) or "no folder"
        yield f"Looked in {looked}. Fetch one with llmsup pull NAME, name another folder in [catalog] roots, or try"
        yield "llmsup demo."


def _block(found: Found, taken: set[str]) -> str:
    """One model: its description, and its table, switched off."""
    table = Table(("models", found.id))
    if alias := _alias(found, taken):
        table.put("aliases", [alias])
    table.put("ttl", "2h")
    context = found.facts.context_length
    table.put("ctx_size", found.ctx_size or min(context or _CONTEXT, _CONTEXT))
    if found.facts.kind == "embedding" and not found.facts.pooling:
        table.put("args", ["--pooling", "mean"])
    if found.facts.kind == "chat":
        table.put("sampling", _sampling(next(iter(found.ollama.values()), {})) or {"temperature": 0.7, "top_p": 0.95})
    head = "\n".join(line for paragraph in _facts(found) for line in comment(paragraph))
    return f"{head}\n{commented_out(table.text(), _OFF)}"


def _facts(found: Found) -> Iterable[str]:
    facts = found.facts
    said = [_KINDS.get(facts.kind, facts.kind), facts.quantisation]
    if facts.parameters:
        millions = facts.parameters / 1e6
        said.append(f"{millions / 1000:.1f} B parameters" if millions >= 1000 else f"{millions:.0f} M parameters")
    said.append(f"trained for {facts.context_length:,} tokens" if facts.context_length else "")
    said += ["reads images" if found.projector else "", "uses tools" if facts.tools else "", format_bytes(found.size)]
    yield ", ".join(part for part in said if part)
    yield visible(f"  {_short(found.path)}")


def _alias(found: Found, taken: set[str]) -> str:
    """A short name that no other model has, or "" if there is none or the model already has it."""
    stem = re.sub(r"[-_.]?gguf$", "", found.id.rpartition("/")[2].partition("@")[0], flags=re.IGNORECASE)
    short = re.sub(r"[^a-z0-9.:-]+", "-", stem.casefold()).strip("-.:")
    if not short or short in taken:
        return ""
    taken.add(short)
    return short


def _sampling(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of Ollama's parameters that a config can hold."""
    fine = {}
    for name, value in values.items():
        try:
            PARAMETERS[name].check(value)
        except (KeyError, ValueError):
            continue
        if can_say(value):
            fine[name] = value
    return fine


def _why_not(found: Found) -> str:
    if found.problem:
        return f"{found.problem}."
    try:
        check_name(found.id)
    except ValueError as error:
        return f"{error}: no request can ask for it."
    if found.facts.kind == "unknown":
        of = f"of the architecture {found.facts.architecture!r}" if found.facts.architecture else "of no architecture"
        return f"it is {of}, which is neither for chat, embeddings nor reranking; its `kind` can be set in a table."
    return ""


def _show(table: Table, key: str, value: Any, *comments: str) -> None:
    """Add a key that is switched off."""
    table.say(*comments)
    shown = Table(())
    shown.put(key, value)
    table.lines += [f"{_OFF}{line}" for line in shown.lines]


def _paragraphs(*paragraphs: str) -> str:
    return "".join(f"{line}\n" for paragraph in paragraphs for line in comment(paragraph))


def _sorted(models: Iterable[Found]) -> list[Found]:
    return sorted(models, key=lambda found: found.id.casefold())


def _short(path: Path) -> str:
    """A path with `~` for the home directory."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)
