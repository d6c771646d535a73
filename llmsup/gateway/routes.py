"""Which paths are for engines.

It does not know which engine: that is the body's to say.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from attrs import frozen

from ..errors import ModelNotFound, NotFound

GENERATING = frozenset(
    (
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/completion",
        "/completions",
        "/infill",
    )
)
"""Where tokens are sampled, so that sampling defaults and presets mean something."""

INFERENCE = GENERATING | {
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/embedding",
    "/embeddings",
    "/v1/rerank",
    "/rerank",
    "/v1/reranking",
    "/reranking",
    "/tokenize",
    "/detokenize",
    "/apply-template",
    "/v1/audio/transcriptions",
    "/v1/audio/speech",
    "/v1/images/generations",
    "/v1/images/edits",
}
"""Paths that are passed on as they are, to the model that the body names."""

UPSTREAM = b"/upstream/"

UPSTREAM_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
"""What may be asked of an engine's other paths."""

MAX_PARTS = 32
"""No id has more parts than this; a path may have tens of thousands."""


def is_for_engines(method: str, path: str, raw_path: bytes) -> bool:
    """Whether a request is the gateway's to answer. `raw_path` is canonical, `path` the same decoded."""
    if path in INFERENCE:
        return method == "POST"
    return raw_path.startswith(UPSTREAM) and len(raw_path) > len(UPSTREAM) and method in UPSTREAM_METHODS


@frozen
class Upstream:
    """A path under /upstream: the model's name, and what is left for the engine; None where even "/" is missing."""

    model: str
    target: bytes | None


def split_upstream(raw_path: bytes, knows: Callable[[str], bool]) -> Upstream:
    """Find the model in `/upstream/{model}/{path}`. Ids may hold slashes: the longest that is known wins.

    Raises:
        ModelNotFound: None of it is a model.
        NotFound: It is empty.
    """
    rest = raw_path.removeprefix(UPSTREAM)
    if not rest.strip(b"/"):
        raise NotFound("No model is named.", hint="Call /upstream/MODEL/PATH.")
    parts = rest.split(b"/")
    for count in range(min(len(parts), MAX_PARTS), 0, -1):
        name = unquote_to_bytes(b"/".join(parts[:count])).decode("utf-8", "replace")
        if knows(name):
            return Upstream(name, b"/" + b"/".join(parts[count:]) if count < len(parts) else None)
    raise ModelNotFound(
        f"There is no model {meant(raw_path)[:100]!r}.", hint="GET /v1/models lists them.", param="model"
    )


def meant(raw_path: bytes) -> str:
    """What was probably meant as a model in a path under /upstream where none is known: ids are often org/name."""
    parts = raw_path.removeprefix(UPSTREAM).split(b"/")
    return unquote_to_bytes(b"/".join(parts[:2])).decode("utf-8", "replace").rstrip("/")
