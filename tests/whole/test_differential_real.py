"""Whatever is asked of llmsup is answered as by the llama-server that it supervises, but for what is listed here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import evolve, frozen
from by_hand import Heard, ask
from real_engines import llama_server, smollm2
from serving import PATIENCE, serving
from varied import EMBEDDER, MODEL, NO_OBJECT, Request, everything, vectors

from llmsup.cli.configs import load
from llmsup.config.schema import Bridge
from llmsup.engines.address import UnixAddress
from llmsup.units import NEVER

UPSTREAM = f"/upstream/{MODEL}"

OF_THE_CONNECTION = {"connection", "keep-alive"}
"""Headers about one connection of the two (RFC 9110, 7.6.1). The length is checked against the body instead."""

OURS_TO_SAY = {
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "vary",
}
"""Which pages may read an answer is decided by llmsup, and not by an engine that lets every page in."""

DIFFER_BY_THEMSELVES = (
    (
        rb'"(created|created_at|completed_at|(?:prompt|predicted)_(?:ms|per_token_ms|per_second)|time_ms)":[-+0-9.eE]+',
        rb'"\1":0',
        "the clock",
    ),
    (rb'"id_task":\d+', rb'"id_task":0', "llmsup asks for the slots, too"),
    (rb"\b(chatcmpl|resp|msg|rs|fc|call)[-_][A-Za-z0-9]{20,}", rb"\1-0", "drawn anew for each answer"),
    (rb'"id":"[A-Za-z0-9]{32}"', rb'"id":"0"', "drawn anew for each call of a tool"),
    (rb"<__media_[A-Za-z0-9]+__>", rb"<__media_0__>", "drawn anew by each process"),
)
"""What differs between two answers of one llama-server: pattern, replacement, reason."""


@frozen
class Known:
    """A difference that is meant.

    Attributes:
        of: Whether a request is concerned.
        ours: Whether llmsup's answer is the one that is meant.
    """

    reason: str
    of: Callable[[Request], bool]
    ours: Callable[[Heard], bool]


def refusal(status: int, code: str) -> Callable[[Heard], bool]:
    """An error in llmsup's own words; an answer to HEAD has none."""
    return lambda heard: heard.status == status and (not heard.body or json.loads(heard.body)["error"]["code"] == code)


def ours(path: str, method: str = "GET") -> Callable[[Request], bool]:
    return lambda request: (request.method, request.path) == (method, path)


def under(request: Request) -> bool:
    return request.path.startswith(UPSTREAM)


POST_ONLY = ("/v1/chat/completions", "/tokenize")
NOWHERE = ("/nope", "/v1/nope", "/v1/chat/completion", "/v2/models", "/%00", "/%C3%BC")

KNOWN = (
    Known(
        "What is no JSON object names no model, so there is no engine to ask: 400 in the API's own shape.",
        lambda request: request.about in NO_OBJECT and request.method == "POST" and not under(request),
        refusal(400, "invalid_json"),
    ),
    Known(
        "The same of a form, or of what is declared as one.",
        lambda request: request.about in ("a form without a boundary", "half a form", "a form's type"),
        refusal(400, "invalid_json"),
    ),
    Known(
        "A path that doesn't take a method says so, and which it takes (RFC 9110, 15.5.6); llama-server: no such path.",
        lambda request: (
            not under(request)
            and (
                (request.path in POST_ONLY and request.method not in ("POST", "OPTIONS"))
                or (
                    request.path in ("/health", f"/slots?model={MODEL}") and request.method in ("POST", "PUT", "DELETE")
                )
            )
        ),
        lambda heard: refusal(405, "method_not_allowed")(heard) and "allow" in dict(heard.headers),
    ),
    Known(
        "OPTIONS is answered with the methods that there are, and without a body, which llama-server calls HTML.",
        lambda request: request.method == "OPTIONS" and not under(request),
        lambda heard: (heard.status, heard.body) == (204, b"") and "allow" in dict(heard.headers),
    ),
    Known("An unknown path is told the nearest.", lambda request: request.path in NOWHERE, refusal(404, "not_found")),
    Known(
        "A target without a slash is no path (RFC 9112, 3.2).",
        lambda request: request.path == "no-slash",
        refusal(400, "malformed_request"),
    ),
    Known("llmsup's own health.", ours("/health"), lambda heard: json.loads(heard.body) == {"status": "ok"}),
    Known("The same.", ours("/v1/health"), lambda heard: json.loads(heard.body) == {"status": "ok"}),
    Known(
        "Files of slots are llmsup's own business, unless the model's args say otherwise.",
        lambda request: "action=save" in request.path,
        refusal(501, "not_implemented"),
    ),
    Known("All models are listed.", ours("/models"), lambda heard: json.loads(heard.body)["object"] == "list"),
    Known("The same.", ours("/v1/models"), lambda heard: json.loads(heard.body)["object"] == "list"),
    Known(
        "One model is shown (OpenAI's `models.retrieve`), which llama-server can't.",
        ours("/v1/models/chat"),
        lambda heard: json.loads(heard.body)["id"] == MODEL,
    ),
)


def difference(direct: Heard, through: Heard) -> str:
    """What differs, in words; "" if nothing does."""
    lines = []
    if (direct.status, direct.reason) != (through.status, through.reason):
        lines.append(f"{direct.status} {direct.reason} -> {through.status} {through.reason}")
    before, after = headers(direct), headers(through)
    if before != after:
        lines.append(f"{[each for each in before if each not in after]} -> {[x for x in after if x not in before]}")
    if (was := steady(direct.body)) != (is_ := steady(through.body)):
        lines.append(f"{was[:1000]!r}\n    -> {is_[:1000]!r}")
    return "\n    ".join(lines)


def headers(heard: Heard) -> list[tuple[str, str]]:
    left_out = {*OF_THE_CONNECTION, *OURS_TO_SAY, "content-length"}
    return sorted(header for header in heard.headers if header[0] not in left_out)


def steady(body: bytes) -> bytes:
    for pattern, by, _ in DIFFER_BY_THEMSELVES:
        body = re.sub(pattern, by, body)
    return body


def framed(request: Request, heard: Heard) -> bool:
    """Whether the length that an answer is said to have is the one that it has."""
    said = [int(value) for name, value in heard.headers if name == "content-length"]
    return request.method == "HEAD" or all(length == len(heard.body) for length in said)


def checked_line(config: Path, name: str) -> list[str]:
    """The command line that `llmsup check` prints for a model."""
    words = [sys.executable, "-m", "llmsup", "check", "--json", "--config", str(config)]
    printed = subprocess.run(words, capture_output=True, check=True, timeout=PATIENCE).stdout
    (line,) = (model["command"] for model in json.loads(printed)["models"] if model["model"] == name)
    return list(line)


@asynccontextmanager
async def started(line: list[str], socket: Path) -> AsyncIterator[None]:
    """A llama-server of our own, started with that line, once it answers."""
    slots = socket.parent / "slots"
    slots.mkdir()
    chosen = {"<socket>": str(socket), "<slots>/": f"{slots}/"}
    words = [chosen.get(word, word) for word in line]
    child = await trio.lowlevel.open_process(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with trio.fail_after(PATIENCE):
            while not await trio.to_thread.run_sync(healthy, socket):
                assert child.poll() is None
                await trio.sleep(0.02)
        yield
    finally:
        child.kill()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + PATIENCE):
            await child.wait()


def healthy(socket: Path) -> bool:
    try:
        return ask(socket, Request("GET", "/health")).status == 200
    except OSError:
        return False


async def both(direct: Path, through: int, request: Request) -> tuple[Heard, Heard]:
    """The same request to both at once."""
    plain = evolve(request, path=request.path.removeprefix(UPSTREAM))
    heard: dict[int, Heard] = {}

    async def one(number: int, to: Path | int, request: Request) -> None:
        heard[number] = await trio.to_thread.run_sync(ask, to, request)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, 0, direct, plain)
        nursery.start_soon(one, 1, through, request)
    return heard[0], heard[1]


@asynccontextmanager
async def compared(model: str, tmp_path: Path) -> AsyncIterator[tuple[Path, int]]:
    """A llama-server of our own, and llmsup, which runs another: where they are. Both have the same line.

    That llmsup has measured no load yet, by which it could choose another way to load (`load_mode`).
    """
    config = tmp_path / "llmsup.toml"
    config.write_text(
        f"""
        server.state_dir = {json.dumps(str(tmp_path / "state"))}
        [models.{MODEL}]
        path = {json.dumps(str(smollm2()))}
        engine = "llama-server"
        ctx_size = 512
        parallel = 1
        threads = 1
        [models.{EMBEDDER}]
        path = {json.dumps(str(smollm2()))}
        engine = "llama-server"
        kind = "embedding"
        args = ["--pooling", "mean"]
        ctx_size = 512
        parallel = 1
        threads = 1
        [engines.llama-server]
        command = [{json.dumps(str(llama_server()))}]
        [catalog]
        serve_all = false
        """
    )
    line = await trio.to_thread.run_sync(checked_line, config, model)
    socket = tmp_path / "direct.sock"
    async with serving(config=evolve(load(config), bridge=Bridge(every=NEVER))) as served, started(line, socket):
        assert (await served.client.post("/models/load", model=model)).status == 200
        run = served.model(model).run
        assert run
        engine = run.engine
        assert engine
        assert isinstance(engine.launch.address, UnixAddress)
        chosen = {str(engine.launch.address.path): "<socket>", f"{engine.launch.slots}/": "<slots>/"}
        assert [chosen.get(word, word) for word in engine.launch.argv] == line
        yield socket, served.client.port


async def differences(requests: Iterable[Request], direct: Path, through: int) -> tuple[list[str], set[Known]]:
    """Those that nobody means, and those that are meant. Both engines get the same requests in the same order, so that
    what each of them keeps of a prompt is the same.
    """
    found, met = [], set[Known]()
    for request in requests:
        heard, passed_on = await both(direct, through, request)
        assert framed(request, heard)
        assert framed(request, passed_on), request
        if differs := difference(heard, passed_on):
            known = [each for each in KNOWN if each.of(request)]
            met.update(known)
            if not (len(known) == 1 and known[0].ours(passed_on)):
                found.append(f"{request}\n    {differs}")
    return found, met


async def test_the_same_through_llmsup(tmp_path: Path) -> None:
    requests = everything()
    assert len(requests) >= 200
    async with compared(MODEL, tmp_path) as (direct, through):
        found, met = await differences(requests, direct, through)
        lists = await both(direct, through, Request("GET", "/v1/models"))
    assert not found, "\n".join(("answers that differ:", *found))
    assert met == set(KNOWN), "what no longer differs need not be listed"
    theirs, (mine,) = (
        json.loads(lists[0].body),
        (each for each in json.loads(lists[1].body)["data"] if each["id"] == MODEL),
    )
    for member in ("id", "aliases", "tags", "object", "meta"):
        assert mine[member] == theirs["data"][0][member]
    assert json.loads(lists[1].body)["models"][0].keys() == theirs["models"][0].keys()


async def test_the_same_vectors(tmp_path: Path) -> None:
    async with compared(EMBEDDER, tmp_path) as (direct, through):
        found, _ = await differences(vectors(), direct, through)
    assert not found, "\n".join(("answers that differ:", *found))
