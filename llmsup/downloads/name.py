"""Reads what people paste as the name of a model to be fetched: a repository of the hub, or a name of Ollama's."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import frozen

from ..errors import BadRequest

HUBS = ("hf.co", "huggingface.co", "www.huggingface.co")
OLLAMAS = ("ollama.com", "www.ollama.com", "ollama.ai", "registry.ollama.ai")

_SCHEME = re.compile(r"(https?|hf|ollama)://", re.IGNORECASE)
_PART = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,94}[a-z0-9_])?", re.IGNORECASE)
_OF_A_REVISION = ("blob", "resolve", "raw", "tree")
_OTHERS = ("datasets", "spaces", "collections", "papers", "docs")
_TAG = re.compile(r"[:@]")
_EXAMPLES = (
    "Write hf.co/ORG/REPO or hf.co/ORG/REPO:QUANT, the address of its page, or a name of Ollama's (llama3.2:3b)."
)


@frozen
class HubName:
    """Something in a repository of the hub.

    Attributes:
        repo: "org/repo".
        tag: A quantisation, a file or a folder, as it was written; "": whichever suits this machine.
        revision: A branch, a tag or a commit; "": the main branch.
    """

    repo: str
    tag: str = ""
    revision: str = ""


@frozen
class OllamaName:
    """A name in Ollama's library."""

    name: str


def understood(text: str, *, hub: str = "", plain: Literal["hub", "ollama"] = "hub") -> HubName | OllamaName:
    """Read a name.

    Args:
        hub: The host of another hub that is in use, with its port if it has one: a mirror's addresses count, too.
        plain: Whose `org/repo` is, without a host. A name without a slash is Ollama's.

    Raises:
        BadRequest: It is neither; the error says what can be written.
    """
    text = text.strip().strip("\"'<>").strip()
    if not text or re.search(r"\s", text):
        raise BadRequest(f"{text!r} is not the name of a model to pull.", hint=_EXAMPLES, param="model")
    scheme = match[1].lower() if (match := _SCHEME.match(text)) else ""
    rest = text[match.end() :] if match else text
    host, slash, path = rest.partition("/")
    known = host.lower()
    if scheme == "hf":
        return _of_hub(rest, text)
    if slash and known in (*HUBS, hub.lower()):
        return _of_hub(path, text)
    if scheme == "ollama" or (slash and known in OLLAMAS):
        return OllamaName((rest if scheme == "ollama" else path).partition("?")[0].strip("/").removeprefix("library/"))
    if scheme and plain == "ollama":
        return OllamaName(text)  # it knows registries by any address
    if scheme:
        raise BadRequest(
            f"{host} is neither the hub nor Ollama's library.", hint=f"Models are pulled from these. {_EXAMPLES}"
        )
    if not slash or known == "library" or plain == "ollama":
        return OllamaName(rest.removeprefix("library/"))
    return _of_hub(rest, text)


def _of_hub(path: str, text: str) -> HubName:
    """A path on the hub: `org/repo`, `org/repo:tag`, `org/repo/file.gguf`, or that of one of a repository's pages."""
    parts_of = urlsplit(f"//hub/{path}")
    parts = [unquote(part) for part in parts_of.path.split("/") if part]
    if parts[:1] == ["models"]:
        del parts[0]
    if parts and parts[0] in _OTHERS:
        raise BadRequest(f"{text} is not a model: it is under {parts[0]}/ on the hub.", hint=_EXAMPLES)
    if len(parts) < 2:
        raise BadRequest(f"{text} names no repository: that has two parts, ORG/REPO.", hint=_EXAMPLES)
    org, (repo, *tagged) = parts[0], _TAG.split(parts[1], maxsplit=1)
    repo = repo.removesuffix(".git")
    for part in (org, repo):
        if not _PART.fullmatch(part) or "--" in part or ".." in part:
            raise BadRequest(f"{part!r} in {text} can't be part of a repository's name.", hint=_EXAMPLES)
    tag, revision = "".join(tagged), ""
    rest = parts[2:]
    if len(rest) > 1 and rest[0] in _OF_A_REVISION:
        revision = "" if rest[1] == "main" else rest[1]
        rest = rest[2:]
    elif rest and "." not in rest[-1] and "://" in text:
        rest = []  # another of its pages: discussions, the list of commits
    shown = parse_qs(parts_of.query).get("show_file_info", [""])[0]  # the hub's own viewer of a GGUF's header
    return HubName(f"{org}/{repo}", _latest(tag or "/".join(rest) or shown), revision)


def _latest(tag: str) -> str:
    return "" if tag.lower() == "latest" else tag  # Ollama's word for no tag
