"""A request's body: read up to a limit, taken apart, and put together again with the rest untouched."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from io import BytesIO
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.formparser import MultiPartParser

from llmsup.engines.http import Payload
from llmsup.errors import BodyTooLarge, InvalidJson
from llmsup.gateway.body import JsonBody
from llmsup.gateway.form import MultipartBody
from llmsup.gateway.message import RequestHead
from llmsup.gateway.reading import read_body
from llmsup.units import Bytes

# Reading...


class Chunks(AsyncIterator[bytes]):
    """A body on its way in; it knows how much of it was taken."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.taken = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            self.taken += 1
            return chunk
        raise StopAsyncIteration


def post(*headers: tuple[bytes, bytes]) -> RequestHead:
    """The head of a request."""
    return RequestHead(method="POST", path="/", raw_path=b"/", headers=list(headers))


@pytest.mark.parametrize("chunks", [[], [b""], [b"12345678"], [b"1234", b"", b"5678"]])
async def test_a_body_up_to_the_limit_is_read(chunks: list[bytes]) -> None:
    """Exactly the limit is not too much."""
    assert await read_body(post(), Chunks(chunks), Bytes(8)) == b"".join(chunks)
    head = post((b"content-length", b"8"))
    assert await read_body(head, Chunks(chunks), Bytes(8)) == b"".join(chunks)


async def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    """Not one chunk is taken."""
    chunks = Chunks([b"x"])
    with pytest.raises(BodyTooLarge, match=r"larger than 8 B \(server\.max_body\)") as error:
        await read_body(post((b"content-length", b"9")), chunks, Bytes(8))
    assert (error.value.status, chunks.taken) == (413, 0)


async def test_a_body_that_turns_out_too_large_is_not_read_on() -> None:
    """Where no length is declared, or a wrong one, reading stops as soon as the limit is passed."""
    for head in (post(), post((b"content-length", b"2")), post((b"content-length", b"-1"))):
        chunks = Chunks(b"xxx" for _ in range(1000))
        with pytest.raises(BodyTooLarge):
            await read_body(head, chunks, Bytes(8))
        assert chunks.taken == 3


@pytest.mark.parametrize("length", [b"9" * 5000, b"\xb2"])
async def test_a_length_that_is_hardly_a_number(length: bytes) -> None:
    """The limit holds all the same, and nothing else goes wrong."""
    with pytest.raises(BodyTooLarge):
        await read_body(post((b"content-length", length)), Chunks([b"x"] * 9), Bytes(8))


# JSON...


def whole(payload: Payload) -> bytes:
    """A body as it goes out."""
    return b"".join(payload) if isinstance(payload, tuple) else bytes(payload)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b'{"model": "x"',
        b'{"model": "x',
        b'{"model": "x",}',
        b'{"model" "x"}',
        b'{"model": "x"} y',
        b'{"model": NaN}',
        b'{"model": "\n"}',
        b'{"model": "\\x"}',
        b"{'model': 'x'}",
        b"model=x",
        b"\x00",
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a": ' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 100_000,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_not_json(data: bytes) -> None:
    """It is told to the client; nothing breaks, however deep it nests."""
    with pytest.raises(InvalidJson, match=r"The body is not JSON|must be a JSON object|The body is empty") as error:
        JsonBody(data)
    assert error.value.status == 400


@pytest.mark.parametrize("data", [b"[]", b'"model"', b"1", b"null", b"true"])
def test_json_that_is_no_object(data: bytes) -> None:
    """The message says what it is instead."""
    with pytest.raises(InvalidJson, match="The body must be a JSON object: "):
        JsonBody(data)


@pytest.mark.parametrize("data", [b'{"model": "\xff"}', b'{"\xff": 1}'])
def test_values_that_cannot_be_read(data: bytes) -> None:
    """Invalid UTF-8 is the client's mistake, too, at the latest when looked at."""
    with pytest.raises(InvalidJson, match="a text in it is not UTF-8") as error:
        JsonBody(data).get("model")
    assert "codec" not in str(error.value)


def test_members_can_be_looked_at() -> None:
    """Present, absent and null are told apart; the last of several wins."""
    body = JsonBody(b' {"model": "a", "n": null, "model": "b\\u00e9", "deep": {"x": [1, 2.5, true]}} \n')
    assert body.get("model") == "bé"
    assert body.get("deep") == {"x": [1, 2.5, True]}
    assert (body.get("n"), "n" in body) == (None, True)
    assert (body.get("m"), "m" in body) == (None, False)


def test_unchanged_is_the_very_same() -> None:
    """No changes: not even a space differs."""
    data = b' { "model" : "a" , "model" : "b" }\n'
    assert JsonBody(data).edited({}) is data


def test_other_members_keep_their_bytes() -> None:
    """What an engine would read differently if it were written anew, is not written anew."""
    data = (
        rb'{"model": "a", "t": 1.0000, "big": 123456789012345678901234567890, "e": 1e5, "s": "\u00e9\/\ud83d\ude00",'
        rb' "nested": { "a" : [ 1 , 2 ] }, "zero": -0.0, "n": null}'
    )
    assert JsonBody(data).edited({"model": "b"}) == (
        rb'{"model":"b","t":1.0000,"big":123456789012345678901234567890,"e":1e5,"s":"\u00e9\/\ud83d\ude00",'
        rb'"nested":{ "a" : [ 1 , 2 ] },"zero":-0.0,"n":null}'
    )


@pytest.mark.parametrize(
    ("changes", "edited"),
    [
        ({"b": 3}, b'{"a":1,"b":3}'),
        ({"c": [True, "é"]}, '{"a":1,"b":2,"c":[true,"é"]}'.encode()),
        ({"a": None}, b'{"b":2}'),
        ({"c": None}, b'{"a":1,"b":2}'),
        ({"a": None, "b": None}, b"{}"),
        ({'qu"ote': 0}, b'{"a":1,"b":2,"qu\\"ote":0}'),
    ],
)
def test_members_are_replaced_added_and_removed(changes: dict[str, Any], edited: bytes) -> None:
    """In place, at the end, and where the change is None."""
    assert JsonBody(b'{"a": 1, "b": 2}').edited(changes) == edited


def test_of_duplicate_members_the_last_is_kept() -> None:
    """As every JSON reader does; the engine never gets to choose another than we did."""
    assert JsonBody(b'{"model": "a", "x": 1, "model": "b"}').edited({"y": 2}) == b'{"model":"b","x":1,"y":2}'


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=6)


@settings(deadline=None)
@given(OBJECTS, OBJECTS, st.booleans())
def test_an_edit_changes_what_it_says_and_nothing_else(
    members: dict[str, Any], edit: dict[str, Any], escape: bool
) -> None:
    """Whatever the body holds and however it is written."""
    body = JsonBody(json.dumps(members, ensure_ascii=escape).encode())
    wanted = {name: value for name, value in {**members, **edit}.items() if edit.get(name, ...) is not None}
    assert json.loads(whole(body.edited(edit))) == wanted
    assert all(body.get(name) == value for name, value in members.items())


# Multipart...

BOUNDARY = b"----WebKitFormBoundary7MA4YWxk"


def read_form(data: bytes, boundary: bytes) -> MultipartBody:
    """A form, read to its end."""
    body = MultipartBody(data, boundary)
    while body.step():
        pass
    return body


def part(name: str, data: bytes, filename: str | None = None, content_type: str = "") -> bytes:
    """One part of a form, as curl and browsers write it."""
    file = f'; filename="{filename}"' if filename is not None else ""
    kind = f"Content-Type: {content_type}\r\n" if content_type else ""
    lines = f'Content-Disposition: form-data; name="{name}"{file}\r\n{kind}\r\n'
    return b"--%s\r\n%s%s\r\n" % (BOUNDARY, lines.encode(), data)


def form(*parts: bytes) -> bytes:
    """A whole form."""
    return b"".join(parts) + b"--%s--\r\n" % BOUNDARY


def read(data: bytes) -> tuple[dict[str, list[str]], dict[str, tuple[str | None, str | None, bytes]]]:
    """What a server makes of a form: its fields, and of each file its name, its type and its bytes."""
    fields, files = MultiPartParser().parse(BytesIO(data), BOUNDARY, len(data))
    taken = {}
    for name, file in files.items():
        with file.stream:
            taken[name] = (file.filename, file.content_type, file.read())
    return {name: fields.getlist(name) for name in fields}, taken


MODEL = part("model", b"whisper-1")
AUDIO = part("file", b"RIFF\x00\xff\r\n--\r\n----WebKitForm\r\n\r\n", "a.wav", "audio/wav")
RIFF = {"file": ("a.wav", "audio/wav", b"RIFF\x00\xff\r\n--\r\n----WebKitForm\r\n\r\n")}


@pytest.mark.parametrize(
    "data",
    [
        form(MODEL, AUDIO),
        form(AUDIO, MODEL),
        form(part("language", b"en"), AUDIO, part("temperature", b"0"), MODEL),
        form(MODEL, part("model", b"another")),
        form(MODEL).replace(b"\r\n", b"\n"),
        form(MODEL).replace(b'"model"', b"model"),
        b"a preamble\r\n" + form(MODEL) + b"an epilogue",
    ],
)
def test_the_model_is_found_wherever_it_stands(data: bytes) -> None:
    """Before a file or after it; the first of several."""
    body = read_form(data, BOUNDARY)
    assert body.get("model") == "whisper-1"
    assert body.get("nothing") is None


def test_fields_are_text() -> None:
    """UTF-8; what isn't is shown as such. Empty is not absent, and a file is no field."""
    body = read_form(form(part("a", "é\r\n".encode()), part("b", b"\xff"), part("c", b""), AUDIO), BOUNDARY)
    assert [body.get(name) for name in ("a", "b", "c", "file")] == ["é\r\n", "\ufffd", "", None]


@pytest.mark.parametrize("order", [(MODEL, AUDIO), (AUDIO, MODEL), (part("x", b"1"), MODEL, AUDIO, part("y", b"2"))])
def test_a_form_can_have_its_model_renamed(order: tuple[bytes, ...]) -> None:
    """The file's bytes and all other fields stay."""
    data = form(*order)
    fields, files = read(data)
    assert files == RIFF
    assert read(whole(read_form(data, BOUNDARY).renamed("large-v3"))) == ({**fields, "model": ["large-v3"]}, RIFF)


@settings(deadline=None)
@given(st.binary(max_size=200).filter(lambda data: BOUNDARY not in data), st.text(min_size=1, max_size=20))
def test_renaming_leaves_any_file_alone(audio: bytes, model: str) -> None:
    """Whatever is in it; and whatever the new name is, that is what the engine reads."""
    model = model.encode("utf-8", "replace").decode()
    data = form(part("file", audio, "a.bin"), MODEL)
    fields, files = read(whole(read_form(data, BOUNDARY).renamed(model)))
    assert (fields, files["file"][2]) == ({"model": [model]}, audio)


@pytest.mark.parametrize("name", ["a.wav", "é.wav", r"a\"b.wav", "a%22b.wav", "a;b=c.wav", "a'b.wav", r"C:\\a.wav"])
def test_renaming_leaves_the_files_name_alone(name: str) -> None:
    """Quotes, semicolons and all."""
    data = form(MODEL, part("file", b"RIFF", name))
    _, files = read(data)
    assert read(whole(read_form(data, BOUNDARY).renamed("x"))) == ({"model": ["x"]}, files)


def test_a_part_without_a_name_is_left_alone() -> None:
    """It is no form field of anybody's, but it is no reason to fail either."""
    nameless = b"--%s\r\nContent-Disposition: form-data\r\n\r\nx\r\n" % BOUNDARY
    body = read_form(form(nameless, MODEL), BOUNDARY)
    assert body.get("model") == "whisper-1"
    assert b"large-v3" in whole(body.renamed("large-v3"))


def test_a_file_that_is_called_model_is_a_file() -> None:
    """It names no model, and keeps its bytes."""
    body = read_form(form(part("model", b"RIFF", "m.bin"), MODEL), BOUNDARY)
    assert body.get("model") == "whisper-1"
    assert b"RIFF" in whole(body.renamed("x"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        MODEL,
        form(MODEL)[:-10],
        form(MODEL).replace(BOUNDARY, b"other"),
        form(b"--%s\r\nContent-Type: text/plain\r\n\r\nx\r\n" % BOUNDARY),
        form(b"--%s\r\n\xff: \xff\r\n\r\nx\r\n" % BOUNDARY),
        b'{"model": "x"}',
    ],
)
def test_what_is_not_a_form(data: bytes) -> None:
    """Truncated, without a boundary or with another: the client is told."""
    with pytest.raises(InvalidJson, match="The multipart body can't be read") as error:
        read_form(data, BOUNDARY)
    assert error.value.status == 400
    assert "State." not in str(error.value)
    assert "codec" not in str(error.value)


@settings(deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(min_size=1, max_size=70))
def test_any_form_is_read_or_told(head: bytes, data: bytes, boundary: bytes) -> None:
    """No bytes break it, nor any boundary."""
    whole = b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n--%s--\r\n" % (boundary, head, data, boundary)
    try:
        body = read_form(whole, boundary)
    except InvalidJson:
        return
    body.get("model")
    body.renamed("x")
