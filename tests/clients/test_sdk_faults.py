"""What the libraries make of what goes wrong: their own error classes, in each API's shape.

They ask again by themselves; how long they would wait before is noted here, and not waited.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import httpx
import openai
import pytest
from own_server import KEY, PATIENCE, OwnServer

HELLO: Any = [{"role": "user", "content": "hi"}]


class Clock:
    """The module `time`, whose sleeps are not slept: `instead` is done in each."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.instead: Callable[[], object] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.instead()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("openai._base_client.time", made)
    monkeypatch.setattr("anthropic._base_client.time", made)
    return made


@pytest.fixture
def chat(openai_fake: openai.OpenAI) -> Callable[..., Any]:
    return lambda model, **more: openai_fake.chat.completions.create(model=model, messages=HELLO, **more)


@pytest.fixture
def message(anthropic_fake: anthropic.Anthropic) -> Callable[..., Any]:
    return lambda model, **more: anthropic_fake.messages.create(model=model, messages=HELLO, max_tokens=9, **more)


FOREIGN = {"Origin": "https://evil.example"}
WRONG = {"Authorization": "Bearer wrong", "X-Api-Key": "wrong"}
LARGE = {"padding": "x" * 2**25}
REFUSALS: list[tuple[str, dict[str, Any], str, str, str]] = [
    # model, what else is asked, the class's name, OpenAI's code, Anthropic's type
    ("nope", {}, "NotFoundError", "model_not_found", "not_found_error"),
    ("", {}, "BadRequestError", "model_required", "invalid_request_error"),
    ("m", {"extra_body": {"model": 7}}, "BadRequestError", "model_required", "invalid_request_error"),
    ("m", {"extra_headers": WRONG}, "AuthenticationError", "invalid_api_key", "authentication_error"),
    ("m", {"extra_headers": FOREIGN}, "PermissionDeniedError", "forbidden_origin", "permission_error"),
    ("m", {"extra_body": LARGE}, "APIStatusError", "body_too_large", "request_too_large"),
    (
        "m",
        {"extra_headers": {"Content-Encoding": "br"}},
        "APIStatusError",
        "unsupported_encoding",
        "invalid_request_error",
    ),
    ("bad", {}, "InternalServerError", "model_failed", "overloaded_error"),
    ("huge", {}, "InternalServerError", "model_too_large", "api_error"),
]


@pytest.mark.client("openai (Python)", "errors")
@pytest.mark.client("anthropic (Python)", "errors")
@pytest.mark.parametrize(("model", "more", "name", "code", "type_"), REFUSALS, ids=[each[3] for each in REFUSALS])
def test_refusals(
    chat: Callable[..., Any], message: Callable[..., Any], clock: Clock,
    model: str, more: dict[str, Any], name: str, code: str, type_: str,
) -> None:  # fmt: skip
    """None of these is tried again: it would come to the same."""
    for stream in (False, True):
        with pytest.raises(openai.APIStatusError) as of_openai:
            chat(model, stream=stream, **more)
        assert isinstance(of_openai.value, getattr(openai, name))
        assert of_openai.value.code == code
        body: Any = of_openai.value.body
        assert set(body) >= {"message", "type", "param", "code"}
        with pytest.raises(anthropic.APIStatusError) as of_anthropic:
            message(model, stream=stream, **more)
        assert isinstance(of_anthropic.value, getattr(anthropic, name))
        said: Any = of_anthropic.value.body
        assert (said["type"], said["error"]["type"]) == ("error", type_)
        assert said["error"]["message"]
    assert clock.slept == []


@pytest.mark.parametrize(
    ("method", "path", "content", "type_"),
    [
        ("GET", "/v1/messages", b"", "invalid_request_error"),
        ("POST", "/v1/messages", b"{", "invalid_request_error"),
        ("POST", "/v1/messages", b"[]", "invalid_request_error"),
        ("POST", "/v1/messages/count_tokens", b'{"model": "nope"}', "not_found_error"),
        ("POST", "/v1/messages/count_tokens?beta=true", b"", "invalid_request_error"),
        ("POST", "/v1/messages/batches", b"{}", "not_found_error"),
        ("GET", "/v1/models/nope", b"", "not_found_error"),
        ("GET", "/v1/files", b"", "not_found_error"),
    ],
)
@pytest.mark.parametrize("key", [KEY, "wrong"])
def test_anthropics_shape_on_all_its_paths(
    fakes: OwnServer, plain: httpx.Client, method: str, path: str, content: bytes, type_: str, key: str
) -> None:
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    got = plain.request(method, fakes.url + path, content=content, headers=headers).json()
    assert got["type"] == "error"
    assert got["error"]["type"] == (type_ if key == KEY else "authentication_error")


@pytest.mark.client("openai (Python)", "errors", streamed=True)
@pytest.mark.client("anthropic (Python)", "errors", streamed=True)
def test_a_stream_that_breaks(
    openai_fake: openai.OpenAI, message: Callable[..., Any], chat: Callable[..., Any]
) -> None:
    def responses() -> Any:
        return openai_fake.responses.create(model="dies", input="hi", stream=True)

    def completions() -> Any:
        return openai_fake.completions.create(model="dies", prompt="hi", stream=True)

    streams: list[Callable[[], Any]] = [lambda: chat("dies", stream=True), responses, completions]
    for stream in streams:
        with pytest.raises(openai.APIError, match="exited with code 4"):
            list(stream())
    with pytest.raises(anthropic.APIStatusError, match="exited with code 4") as caught:
        list(message("dies", stream=True))
    assert caught.value.body["type"] == "error"  # type: ignore[index]  # an object, as JSON


def test_what_a_load_comes_to_while_a_stream_waits(
    openai_fake: openai.OpenAI, anthropic_fake: anthropic.Anthropic, control: Callable[[str, str], None]
) -> None:
    """By then the head is out, and comments; the libraries pass over those."""
    talks: list[Callable[[], Any]] = [
        lambda: list(openai_fake.chat.completions.create(model="late", messages=HELLO, stream=True)),
        lambda: list(openai_fake.responses.create(model="late", input="hi", stream=True)),
        lambda: list(anthropic_fake.messages.create(model="late", messages=HELLO, max_tokens=9, stream=True)),
    ]
    for talk in talks:
        control("unload", "late")
        talk()


@pytest.fixture
def busy(openai_fake: openai.OpenAI) -> Iterator[Callable[[str], Callable[[], None]]]:
    """Have a model busy with a stream, until what comes back is called."""
    streams: list[Any] = []

    def start(model: str) -> Callable[[], None]:
        stream = openai_fake.chat.completions.create(model=model, messages=HELLO, stream=True)
        streams.append(stream)
        next(stream)
        return stream.close

    yield start
    for stream in streams:
        stream.close()


@pytest.fixture
def control(fakes: OwnServer, plain: httpx.Client) -> Callable[[str, str], None]:
    """Load and unload."""

    def do(what: str, model: str) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        plain.post(f"{fakes.url}/models/{what}", json={"model": model}, headers=headers).raise_for_status()

    return do


@pytest.fixture
def waiting(fakes: OwnServer, plain: httpx.Client) -> Iterator[Callable[[str], Callable[[], None]]]:
    """Have a request wait for a model that is busy, until what comes back is called, which awaits its first event."""
    with ThreadPoolExecutor(1) as pool:

        def ask(model: str) -> None:
            headers = {"Authorization": f"Bearer {KEY}"}
            body = {"model": model, "messages": HELLO, "stream": True}
            with plain.stream("POST", f"{fakes.url}/v1/chat/completions", json=body, headers=headers) as got:
                assert got.status_code == 200
                next(line for line in got.iter_lines() if line.startswith("data:"))  # comments come before

        def start(model: str) -> Callable[[], None]:
            asked = pool.submit(ask, model)
            deadline = time.monotonic() + PATIENCE
            while not _waiting(fakes, model):
                assert time.monotonic() < deadline
                time.sleep(0.02)  # nothing tells of one that waits
            return lambda: asked.result(PATIENCE)

        yield start


def _waiting(fakes: OwnServer, model: str) -> bool:
    running: Any = httpx.get(f"{fakes.url}/running", headers={"Authorization": f"Bearer {KEY}"}).json()
    return any(each["model"] == model and each["waiting"] for each in running)


@pytest.mark.slow
@pytest.mark.client("openai (Python)", "Retry-After")
def test_no_memory_now(
    chat: Callable[..., Any], busy: Callable[..., Any], control: Callable[..., None], clock: Clock
) -> None:
    """503, which says after how long to ask again; the library does so by itself, and has its answer."""
    leave = busy("large")

    def meanwhile() -> None:
        leave()
        control("unload", "large")
        control("load", "larger")

    clock.instead = meanwhile
    assert chat("larger").choices
    assert clock.slept == [30]


@pytest.mark.client("openai (Python)", "Retry-After", streamed=True)
@pytest.mark.client("anthropic (Python)", "Retry-After", streamed=True)
@pytest.mark.parametrize("who", ["openai", "anthropic"])
def test_a_full_queue(
    who: str,
    chat: Callable[..., Any],
    message: Callable[..., Any],
    busy: Callable[..., Any],
    waiting: Callable[[str], Callable[[], None]],
    clock: Clock,
) -> None:
    """429, which is RateLimitError; tried again when there is room."""
    leave = busy("slow")
    go = waiting("slow")
    with pytest.raises(openai.RateLimitError, match="max_queue") as caught:
        chat("slow", stream=True, timeout=5)
    assert (caught.value.code, caught.value.response.headers["x-should-retry"]) == ("queue_full", "true")
    assert clock.slept == [5, 5]

    def meanwhile() -> None:
        leave()
        go()

    clock.instead = meanwhile
    (chat if who == "openai" else message)("slow", stream=True).close()
    assert clock.slept == [5, 5, 5]


@pytest.mark.client("openai (Python)", "cancelled", streamed=True)
def test_a_stream_that_is_closed_frees_its_slot(chat: Callable[..., Any], busy: Callable[..., Any]) -> None:
    """There is one; were it not free, the second would wait for ten thousand tokens of the first."""
    busy("slow")()
    busy("slow")()


@pytest.mark.client("anthropic (Python)", "cancelled", streamed=True)
def test_anthropics_stream_that_is_closed(message: Callable[..., Any]) -> None:
    """The first event is from the engine, which has one slot."""
    for _ in range(2):
        stream = message("slow", stream=True)
        assert next(stream).type == "content_block_delta"
        stream.close()
