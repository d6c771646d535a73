"""GET /ui: what is sent, to whom, and with which headers. What it looks like is seen in `whole/test_page_browser`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from serving import fake, serving

import llmsup
from llmsup.config.schema import Server
from llmsup.web.page import TYPES, read

UI = Path(llmsup.__file__).parent / "web/ui"
MARKUP = "<img src=x onerror=alert(1)>"
HTML = [(b"accept", b"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")]


def test_it_is_small() -> None:
    assert sum(len(part.body) for part in read().values()) < 120_000


def test_text_never_becomes_markup_there() -> None:
    """Nor is anything taken from elsewhere, run from a string, or kept in the browser."""
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|\beval\b"
    sinks += r"|new Function|javascript:|localStorage|sessionStorage|indexedDB|document\.cookie|srcdoc"
    for file in UI.iterdir():
        text = file.read_text("utf-8")
        assert re.findall(sinks, text) == [], file.name
        assert set(re.findall(r"https?://[^'\"\s]+", text)) <= {"http://www.w3.org/2000/svg"}, file.name
        assert file.suffix[1:] in TYPES
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=\"", text), file.name


async def test_it_is_sent_with_strict_headers() -> None:
    """Each file with its type; a browser that has it asks whether it is still the same, and gets nothing else."""
    async with serving(fake("m")) as served:
        for path in ("/ui", *(f"/ui/{name}" for name in read() if name != "index.html")):
            got = await served.client.get(path)
            assert (got.status, got.headers["cache-control"]) == (200, "no-cache"), path
            assert got.headers["content-type"].endswith("; charset=utf-8")
            policy = dict(
                each.strip().partition(" ")[::2] for each in got.headers["content-security-policy"].split(";")
            )
            assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
            assert got.headers["x-content-type-options"] == "nosniff"
            tag = got.headers["etag"]
            again = await served.client.ask("GET", path, None, [(b"if-none-match", tag.encode())])
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
            other = await served.client.ask("GET", path, None, [(b"if-none-match", b'"other"')])
            assert (other.status, other.body) == (200, got.body)
        assert (await served.client.get("/ui/")).body == (await served.client.get("/ui")).body
        for path in ("/ui/index.html", "/ui/nosuch.js", "/ui/..%2fpage.py", "/ui/a/b"):
            assert (await served.client.get(path)).status == 404, path
        assert (await served.client.post("/ui")).status == 405


async def test_a_browser_is_led_there() -> None:
    """Ollama's programs get at `/` what they always got."""
    async with serving(fake("m")) as served:
        led = await served.client.ask("GET", "/", None, HTML)
        assert (led.status, led.headers["location"], led.headers["vary"]) == (303, "/ui", "Accept")
        for accept in (b"", b"*/*", b"application/json"):
            got = await served.client.ask("GET", "/", None, [(b"accept", accept)] if accept else [])
            assert (got.status, got.body[:17]) == (200, b"Ollama is running")


async def test_a_name_is_text_in_the_table_without_javascript() -> None:
    async with serving(fake(MARKUP), fake("</noscript><script>"), fake("hidden", unlisted=True)) as served:
        text = (await served.client.get("/ui")).body.decode()
        table = text.partition("<noscript>")[2].partition("</noscript>")[0]
        assert "<td>&lt;img src=x onerror=alert(1)&gt;</td><td>chat</td><td>unloaded</td>" in table
        assert table.count("<tr>") == 3
        assert "hidden" not in table
        assert MARKUP not in text
        assert (text.count("<noscript>"), text.count("</noscript>"), text.count("<script")) == (1, 1, 1)
        await served.client.post("/models/load", model=MARKUP)
        assert "<td>ready</td>" in (await served.client.get("/ui")).body.decode()


async def test_the_page_is_for_all_and_what_it_asks_for_is_not() -> None:
    """With keys the page comes without one, and without a model's name: it asks for the key itself."""
    async with serving(fake("secret"), server=Server(api_keys=("k",))) as served:
        for path in ("/ui", "/ui/app.js"):
            got = await served.client.get(path)
            assert (got.status, b"secret" in got.body) == (200, False), path
        assert (await served.client.ask("GET", "/", None, HTML)).status == 303
        for path in ("/", "/running", "/memory", "/v1/models", "/events", "/logs"):
            assert (await served.client.get(path)).status == 401, path
        assert (await served.client.post("/ui")).status == 401


PAGES = [
    ("127.0.0.1", "http://127.0.0.1:5005", True),
    ("192.168.1.7:5005", "http://192.168.1.7:5005", True),
    ("studio.local:5005", "http://studio.local:5005", True),
    ("192.168.1.7:5005", "http://192.168.1.7:8080", False),
    ("192.168.1.7:5005", "https://evil.example", False),
    ("192.168.1.7:5005", "null", False),
    ("evil.example", "http://evil.example", False),
]


@pytest.mark.parametrize(("host", "origin", "allowed"), PAGES)
def test_its_own_page_may_drive_a_server_and_no_other(host: str, origin: str, allowed: bool) -> None:
    """By whatever name the machine is called; a name that anybody could have is refused before that."""
    from llmsup.config.live import LiveConfig
    from llmsup.config.schema import Config
    from llmsup.errors import ForbiddenOrigin
    from llmsup.gateway.access import RequestGuard
    from llmsup.gateway.message import RequestHead

    guard = RequestGuard(LiveConfig(Config()), loopback=False)
    headers = [(b"host", host.encode()), (b"origin", origin.encode())]
    head = RequestHead(method="POST", path="/models/unload", raw_path=b"/models/unload", headers=headers)
    if allowed:
        guard.check(head)
    else:
        with pytest.raises(ForbiddenOrigin):
            guard.check(head)


async def test_a_page_from_elsewhere_is_told_nothing() -> None:
    async with serving(fake("m")) as served:
        for headers in ([(b"origin", b"https://evil.example")], [(b"sec-fetch-site", b"cross-site")]):
            assert (await served.client.ask("GET", "/ui", None, headers)).status == 403
