"""Which paths Ollama's API has."""

from __future__ import annotations

from ..dialect import GET, Route
from ..openai import OPENAI
from . import models, options, pull, requests
from .answers import Chatted, generated
from .dialect import OLLAMA
from .shortening import shortened
from .vectors import Embedded, EmbeddedOne

_CHANGES = ("push", "create", "copy", "delete", "blobs/*")
"""What changes models, in whichever way clients ask for it."""
_ANY = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE"))

ROUTES = (
    Route(
        dialect=OLLAMA,
        path="/api/chat",
        target="/v1/chat/completions",
        samples=True,
        keeps=True,
        wants_context=options.wanted_context,
        streams=requests.streams,
        request=requests.chat,
        answer=Chatted,
    ),
    Route(
        dialect=OLLAMA,
        path="/api/generate",
        target=requests.generate_target,
        samples=True,
        keeps=True,
        wants_context=options.wanted_context,
        streams=requests.streams,
        request=requests.generate,
        answer=generated,
    ),
    Route(
        dialect=OLLAMA,
        path="/api/embed",
        target="/v1/embeddings",
        keeps=True,
        wants_context=options.wanted_context,
        streams=requests.never_streams,
        request=requests.embed,
        prepare=shortened,
        answer=Embedded,
    ),
    Route(
        dialect=OLLAMA,
        path="/api/embeddings",
        target="/v1/embeddings",
        keeps=True,
        wants_context=options.wanted_context,
        streams=requests.never_streams,
        request=requests.embeddings,
        prepare=shortened,
        answer=EmbeddedOne,
    ),
    Route(dialect=OPENAI, path="/", methods=GET, here=models.root),
    Route(dialect=OLLAMA, path="/api/version", methods=GET, here=models.version),
    Route(dialect=OLLAMA, path="/api/tags", methods=GET, here=models.tags),
    Route(dialect=OLLAMA, path="/api/ps", methods=GET, here=models.loaded),
    Route(dialect=OLLAMA, path="/api/show", here=models.show),
    Route(dialect=OLLAMA, path="/api/pull", here=pull.pull, control=True),
    *(Route(dialect=OLLAMA, path=f"/api/{name}", methods=_ANY, here=models.refuse) for name in _CHANGES),
)
