"""One spelling for every path: what clients make of a base URL all means the same, on every path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import fake, recorded, serving

from llmsup.config.schema import Server
from llmsup.gateway.paths import canonical, decoded


@pytest.mark.parametrize(
    ("came", "meant"),
    [
        (b"/v1/models", b"/v1/models"),
        (b"//v1/models", b"/v1/models"),
        (b"/v1//models", b"/v1/models"),
        (b"/v1/models/", b"/v1/models"),
        (b"///v1///models///", b"/v1/models"),
        (b"/v1/v1/models", b"/v1/models"),
        (b"/v1//v1/v1/models/", b"/v1/models"),
        (b"/v1/v1", b"/v1"),
        (b"/v1/v1x", b"/v1/v1x"),
        (b"/v1/models/v1/v1", b"/v1/models/v1/v1"),
        (b"/%76%31/models", b"/v1/models"),
        (b"/v1/models/a%2Fb%20c", b"/v1/models/a%2Fb%20c"),
        (b"/health/", b"/health"),
        (b"//health", b"/health"),
        (b"/", b"/"),
        (b"//", b"/"),
        (b"*", b"*"),
        (b"/upstream", b"/upstream"),
        (b"/upstream/", b"/upstream/"),
        (b"//upstream//m/v1//x/", b"/upstream/m/v1//x/"),
        (b"/%75pstream/m/v1/v1/%78/", b"/upstream/m/v1/v1/%78/"),
    ],
)
def test_what_is_meant(came: bytes, meant: bytes) -> None:
    assert canonical(came) == meant


@given(
    st.just(b"*")
    | st.builds(
        b"/%b".__mod__,
        st.binary(max_size=30)
        | st.lists(st.sampled_from([b"/", b"v1", b"upstream", b"%2F", b"%76", b"x"])).map(b"".join),
    )
)
def test_what_is_canonical_stays(path: bytes) -> None:
    """The rule has one result, and it is always a path."""
    once = canonical(path)
    assert canonical(once) == once
    assert once.startswith(b"/") or once == b"*"
    assert isinstance(decoded(once), str)


VARIANTS = ("/{}", "//{}", "/{}/", "///{}//")


@pytest.mark.parametrize(
    "path", ["health", "running", "v1/models", "v1/models/m", "models", "memory", "logs/m", "catalog"]
)
async def test_listings(path: str) -> None:
    """Each is found, without a detour: clients don't follow redirects of a POST, and many not of a GET."""
    async with serving(fake("m")) as served:
        statuses = {(await served.client.get(variant.format(path))).status for variant in VARIANTS}
        assert statuses == {200}


async def test_control_and_inference(tmp_path: Path) -> None:
    """The engine sees the one spelling, whatever came; and a model isn't loaded for a path that there isn't."""
    record = tmp_path / "record"
    async with serving(fake("m", "--record", record)) as served:
        for variant in VARIANTS:
            assert (await served.client.post(variant.format("models/unload"), model="m")).status == 200
        body = {"model": "m", "messages": []}
        assert (await served.client.ask("POST", "//v1/nothing", body)).error["code"] == "not_found"
        assert not recorded(record, "start")
        for variant in (*VARIANTS, "/v1/{}", "/v1//{}"):
            got = await served.client.ask("POST", variant.format("v1/chat/completions"), body)
            assert got.status == 200, variant
        assert {each["path"] for each in recorded(record, "request")} - {"/health"} == {"/v1/chat/completions"}
        await served.client.get("//upstream//m/v1//x/?a=//b")
        assert recorded(record, "request")[-1]["path"] == "/v1//x/?a=//b"


async def test_keys_are_asked_for_however_a_path_is_spelled() -> None:
    """Only what is really /health is open."""
    async with serving(fake("m"), server=Server(api_keys=("k",))) as served:
        for variant in VARIANTS:
            assert (await served.client.get(variant.format("health"))).status == 200
            assert (await served.client.get(variant.format("running"))).status == 401
        got = await served.client.ask("POST", "/health/../v1/chat/completions", json.dumps({"model": "m"}).encode())
        assert got.status == 401
