"""Whatever a peer answers: it is read, or there is a reason why it can't be; nothing else happens."""

from __future__ import annotations

import json
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st

from llmsup.engines.pool import ConnectionPool
from llmsup.peers.asking.recognise import KINDS, recognise
from llmsup.peers.question import NoAnswer, Questions, Said
from llmsup.peers.via import ID

PATHS = [
    "/",
    "/v1/models",
    "/running",
    "/memory",
    "/props",
    "/api/version",
    "/api/tags",
    "/api/ps",
    "/api/v0/models",
    "/version",
    "/metrics",
    "/slots",
]
MEMBERS = [
    "data",
    "models",
    "running",
    "id",
    "name",
    "model",
    "owned_by",
    "status",
    "value",
    "peer",
    "hops",
    "loaded",
    "origins",
    "peers",
    "down",
    "meta",
    "llamaswap",
    "type",
    "state",
    "size",
    "in_flight",
    "waiting",
    "load_seconds",
    "ceiling_bytes",
    "committed_bytes",
    "available_bytes",
    "version",
    "build_info",
    "details",
    "family",
    "context_length",
    "needs_bytes",
    "is_processing",
    "remote_host",
    "error",
    "message",
    "servable",
    "no_engine",
    "fits",
    "slots",
    "kind",
]
WORDS = [
    "llmsup",
    "llama-swap",
    "vllm",
    "llamacpp",
    "library",
    "ready",
    "starting",
    "loaded",
    "loading",
    "unloaded",
    "peer",
    "alias",
    "a",
    "b/c",
    "a:x",
]

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(WORDS), st.just("a\x00b")
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.sampled_from(MEMBERS), st.text(max_size=3)), inner)
    ),
    max_leaves=25,
)
lists = st.builds(
    lambda entries: {"data": entries, "models": entries, "running": entries}, st.lists(values, max_size=4)
)
bodies = st.one_of(
    st.builds(lambda value: json.dumps(value).encode(), st.one_of(values, lists)),
    st.binary(max_size=20),
    st.just(b"Ollama is running"),
    st.just(b'vllm:num_requests_running{x="}"} 1e999\nvllm:num_requests_waiting .\n'),
)
answers = st.dictionaries(st.sampled_from(PATHS), st.tuples(st.sampled_from([200, 200, 200, 401, 404, 500]), bodies))


class Canned(Questions):
    """Answers that are there already."""

    def given(self, given: dict[str, tuple[int, bytes]], identity: bytes) -> Canned:
        object.__setattr__(self, "_given", (given, {ID: identity} if identity else {}))
        return self

    async def get(self, path: str) -> Said:
        given, headers = self._given  # type: ignore[attr-defined]
        status, body = given.get(path, (404, b""))
        return Said(path, status, headers, body)


@given(answers, st.sampled_from([b"", b"0f", b"\xff\x00"]))
def test_whatever_it_answers(given: dict[str, tuple[int, bytes]], identity: bytes) -> None:
    async def ask() -> None:
        pool: Any = ConnectionPool.__new__(ConnectionPool)
        questions = Canned(pool, None, "x").given(given, identity)
        reason = ""
        try:
            asker = await recognise(questions)
            for _ in range(2):
                report = await asker.ask(questions)
        except NoAnswer as error:
            reason = str(error)
        if reason:
            assert reason.isprintable()
            return
        assert report.kind in {kind.kind for kind in KINDS}
        for text in (report.version, report.identity, *report.notes, *(offer.name for offer in report.offers)):
            assert text.isprintable()
        assert len({offer.name for offer in report.offers}) == len(report.offers)
        for each in report.offers:
            for number in (each.busy, each.slots, each.needs_bytes, each.context_length, each.load_seconds, each.hops):
                assert number is None or number >= 0
            assert each.loaded in (True, False, None)

    trio.run(ask)
