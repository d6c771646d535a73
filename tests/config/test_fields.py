"""Every field of a request that llmsup itself reads: null, huge, negative, fractional and wrong-typed values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from serving import fake, serving

from llmsup.errors import BadRequest
from llmsup.gateway.body import JsonBody
from llmsup.gateway.keeping import wanted_ttl
from llmsup.units import NEVER

HUGE = "1" + "0" * 400
ODD = {
    "null": "null",
    "true": "true",
    "zero": "0",
    "negative": "-1",
    "fraction": "0.5",
    "huge": HUGE,
    "huge and negative": f"-{HUGE}",
    "huge fraction": "1e400",
    "tiny": "1e-400",
    "text": '"x"',
    "empty text": '""',
    "long text": json.dumps("x" * 300_000),
    "digits": json.dumps("9" * 5000),
    "a NUL": '"\\u0000"',
    "half an emoji": '"\\ud83d"',
    "list": "[1]",
    "object": '{"a": 1}',
    "deep": "[" * 500 + "]" * 500,
}
CHAT = ("model", "stream", "ttl", "keep_alive")
CONTROL = (
    ("/models/load", "model"),
    ("/models/load", "wait"),
    ("/models/load", "pinned"),
    ("/models/unload", "model"),
    ("/models/unload", "force"),
    ("/models/unload", "all"),
    ("/bridge", "dry_run"),
)


def body(**fields: str) -> bytes:
    """An object whose values are written already."""
    return b"{%s}" % ",".join(f"{json.dumps(name)}:{value}" for name, value in fields.items()).encode()


async def test_inference_never_breaks_on_a_value() -> None:
    """It is refused with 400 (404 where it is a name), or it is served; never a bug of ours."""
    async with serving(fake("m")) as served:
        for field in CHAT:
            for what, value in ODD.items():
                fields = {"model": '"m"', "messages": "[]", field: value}
                got = await served.client.ask("POST", "/v1/chat/completions", body(**fields))
                assert got.status in (200, 400, 404), (field, what, got.body)
                if got.status != 200:
                    assert got.error["param"] == field or got.error["code"] == "invalid_json", (field, what)
                    assert len(got.error["message"]) < 500, (field, what)


@pytest.mark.slow
async def test_control_never_breaks_on_a_value() -> None:
    async with serving(fake("m")) as served:
        for path, field in CONTROL:
            for what, value in ODD.items():
                if (path, field) == ("/bridge", "dry_run") and what == "null":
                    continue  # a real run
                got = await served.client.ask("POST", path, body(**{"model": '"m"', field: value}))
                good = (200,) if what in ("null", "true") and field != "model" else (400, 404, 413)
                assert got.status in good, (path, field, what, got.body)
                if got.status != 200:
                    assert len(got.error["message"]) < 500, (field, what)
                if got.status == 400 and got.error["code"] == "invalid_request":
                    assert got.error["param"] == field


async def test_a_wrong_type_is_not_the_opposite() -> None:
    """`"force": "true"` was no force, and `"wait": "false"` waited."""
    async with serving(fake("m")) as served:
        for path, fields in (
            ("/models/unload", {"force": "true"}),
            ("/models/unload", {"all": 1}),
            ("/models/load", {"wait": "false"}),
            ("/models/load", {"wait": 0}),
            ("/bridge", {"dry_run": "yes"}),
        ):
            got = await served.client.post(path, model="m", **fields)
            (name,) = fields
            assert (got.status, got.error["param"]) == (400, name)
            assert f"`{name}` must be true or false" in got.error["message"]
        assert (await served.client.post("/models/load", model="m", wait=None)).json["seconds"] >= 0  # it waited
        assert (await served.client.post("/models/unload", model="m", force=None, all=None)).json["model"] == "m"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [HUGE, "x" * 5000, "", "%00", "%ff", "a" * 3000 + "/" + "b" * 3000, "m&model=x", "%F0%9F"]
)
async def test_names_in_a_query_or_a_path(name: str) -> None:
    async with serving(fake("m")) as served:
        for path in (f"/tokenize?model={name}", f"/upstream/{name}/x", f"/v1/models/{name}", f"/logs/{name}"):
            got = await served.client.ask("POST" if "tokenize" in path else "GET", path)
            assert got.status in (200, 400, 404), (path, got.body)
            assert len(got.body) < 2000 or got.status == 200


@pytest.mark.parametrize("value", ["m", "", "x" * 300_000, "\x00", "m\r\n", "\ufffd"])
async def test_names_in_a_form(value: str) -> None:
    async with serving(fake("m")) as served:
        form = b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\n%s\r\n--B--\r\n' % value.encode()
        headers = [(b"content-type", b"multipart/form-data; boundary=B")]
        got = await served.client.ask("POST", "/v1/audio/transcriptions", form, headers)
        assert got.status == (200 if value == "m" else got.status)
        assert got.status in (200, 400, 404)
        assert len(got.body) < 2000


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, 0),
        ({"ttl": "null"}, 0),
        ({"ttl": "60"}, 60),
        ({"ttl": "0"}, 0),
        ({"ttl": "0.5"}, 0.5),
        ({"ttl": "-1"}, NEVER),
        ({"ttl": HUGE}, NEVER),
        ({"ttl": f"-{HUGE}"}, NEVER),
        ({"ttl": "1e300"}, NEVER),
        ({"keep_alive": '"10m"'}, 600),
        ({"keep_alive": '" 1h30m "'}, 5400),
        ({"keep_alive": '"-1"'}, NEVER),
        ({"keep_alive": '"-1m"'}, NEVER),
        ({"keep_alive": '"never"'}, NEVER),
        ({"keep_alive": "300"}, 300),
        ({"ttl": "null", "keep_alive": "5"}, 5),
        ({"ttl": "7", "keep_alive": '"nonsense"'}, 7),
    ],
)
def test_how_long_a_model_is_kept(fields: dict[str, str], seconds: float) -> None:
    wanted = wanted_ttl(JsonBody(body(**fields)))
    assert wanted == seconds


@pytest.mark.parametrize(
    "value",
    [
        "1e400",
        "-1e400",
        "9" * 5000,
        "-" + "9" * 5000,
        "true",
        "false",
        '"soon"',
        '"-soon"',
        '""',
        '"-"',
        "[]",
        "{}",
        '"1e400"',
        '"nan"',
        '"' + "9" * 500 + '"',
    ],
)
@pytest.mark.parametrize("name", ["ttl", "keep_alive"])
def test_what_says_nothing_about_how_long(name: str, value: str) -> None:
    """The message names the field, and shows no more of the value than helps."""
    with pytest.raises(BadRequest, match=f"`{name}`") as error:
        wanted_ttl(JsonBody(body(**{name: value})))
    assert (error.value.status, error.value.code, error.value.param) == (400, "invalid_request", name)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("1e400", "a number so large"),
        ("-" + "9" * 5000, "a number so large"),
        ("true", "true"),
        ("[null, true, {}]", "a list [null, true, {}]"),
        ('{"a": null}', "an object"),
        ("5", "a whole number 5"),
    ],
)
async def test_values_are_told_in_jsons_words(value: str, said: str) -> None:
    """And what the field may be, whatever it is."""
    async with serving(fake("m")) as served:
        got = await served.client.ask("POST", "/v1/chat/completions", body(model=value))
        assert got.error["message"] == f"`model` must be a string, not {said}."
        if value != "5":
            got = await served.client.ask("POST", "/v1/chat/completions", body(model='"m"', ttl=value))
            assert (got.status, got.error["param"]) == (400, "ttl")
            may_be = '`ttl` must be a number of seconds, a duration such as "10m", or "never"'
            assert got.error["message"] == f"{may_be}, not {said}."
        if value != "true":
            got = await served.client.ask("POST", "/models/load", body(model='"m"', wait=value))
            assert (got.status, got.error["param"]) == (400, "wait")
            assert got.error["message"] == f"`wait` must be true or false, not {said}."


@pytest.mark.parametrize(("value", "flag"), [("true", True), ("false", False), ("null", None), (None, None)])
@pytest.mark.parametrize("default", [True, False])
def test_flags(value: str | None, flag: bool | None, default: bool) -> None:
    fields: dict[str, Any] = {} if value is None else {"f": value}
    assert JsonBody(body(**fields)).flag("f", default=default) is (default if flag is None else flag)
