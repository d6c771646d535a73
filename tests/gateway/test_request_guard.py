"""Who may come in, and who may not."""

from __future__ import annotations

import contextlib
import socket
from base64 import b64encode
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsup.config.live import LiveConfig
from llmsup.config.schema import Config, Server
from llmsup.errors import ForbiddenOrigin, InvalidApiKey
from llmsup.gateway.access import RequestGuard, is_preflight
from llmsup.gateway.hosts import is_loopback
from llmsup.gateway.message import RequestHead


def made(
    *, api_keys: tuple[str, ...], origins: tuple[str, ...], hosts: tuple[str, ...] = (), **more: Any
) -> RequestGuard:
    """A guard of a server with these settings."""
    server = Server(api_keys=api_keys, cors_origins=origins, hosts=hosts)
    return RequestGuard(LiveConfig(Config(server=server)), **more)


OPEN = made(api_keys=(), origins=("https://chat.example.com",), loopback=True)
NETWORK = made(
    api_keys=(),
    origins=("https://chat.example.com",),
    loopback=False,
    hosts=("llm.example.org",),
    own=frozenset({"box.example.com"}),
)
LOCKED = made(api_keys=("first", "s3cret:with:colons"), origins=(), loopback=False)


def head(method: str = "GET", path: str = "/v1/models", **headers: str) -> RequestHead:
    """A request; underscores in header names stand for dashes."""
    return RequestHead(
        method=method,
        path=path,
        raw_path=path.encode(),
        headers=[(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()],
    )


def preflight(origin: str, **headers: str) -> RequestHead:
    """A browser's question."""
    return head("OPTIONS", origin=origin, access_control_request_method="POST", **headers)


def basic(text: str) -> str:
    """The value of `Authorization` for user:password."""
    return f"Basic {b64encode(text.encode()).decode()}"


# Keys...


def test_what_was_let_in_before_is_checked_again_under_new_rules() -> None:
    """A head that is like the last one isn't looked at again, until a reload."""
    config = LiveConfig(Config(server=Server(api_keys=("old",))))
    guard, request = RequestGuard(config, loopback=False), head(authorization="Bearer old")
    for _ in range(2):
        guard.check(request)
        request.changed()
    config.replace(Config(server=Server(api_keys=("new",))))
    for _ in range(2):
        with pytest.raises(InvalidApiKey):
            guard.check(request)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer first"},
        {"authorization": "bearer  first "},
        {"authorization": "Bearer s3cret:with:colons"},
        {"x_api_key": "first"},
        {"authorization": basic("anybody:first")},
        {"authorization": basic(":first")},
        {"authorization": basic("me:s3cret:with:colons").replace("Basic", "BASIC")},
    ],
)
def test_a_key_opens(headers: dict[str, str]) -> None:
    """Bearer, x-api-key or Basic password: any of the keys will do."""
    LOCKED.check(head(**headers))


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "is missing"),
        ({"authorization": ""}, "is missing"),
        ({"authorization": "Bearer"}, "is missing"),
        ({"x_api_key": ""}, "is missing"),
        ({"authorization": "Bearer wrong"}, "not one of"),
        ({"authorization": "Bearer First"}, "not one of"),
        ({"authorization": "Bearer firs"}, "not one of"),
        ({"authorization": "Bearer first first"}, "not one of"),
        ({"authorization": "Bearer \xff\xe9"}, "not one of"),
        ({"authorization": "first"}, "is missing"),
        ({"x_api_key": "wrong"}, "not one of"),
        ({"authorization": basic("first:wrong")}, "not one of"),
        ({"authorization": basic("first")}, "is missing"),
        ({"authorization": "Basic !!!"}, "is missing"),
        ({"authorization": "Basic /w=="}, "is missing"),
        ({"authorization": "Basic \xe9"}, "is missing"),
    ],
)
def test_no_key_no_entry(headers: dict[str, str], said: str) -> None:
    """Missing, wrong or unreadable: 401, and the message doesn't show a key."""
    with pytest.raises(InvalidApiKey, match=said) as error:
        LOCKED.check(head(**headers))
    assert "s3cret" not in str(error.value)


def test_a_key_beyond_ascii_opens() -> None:
    """The config takes such keys, so they must be of use: on the wire they are UTF-8."""
    guard = made(api_keys=("schlüssel",), origins=(), loopback=False)
    guard.check(head(authorization=basic("me:schlüssel")))
    wire = "schlüssel".encode().decode("latin-1")
    guard.check(head(x_api_key=wire))
    guard.check(head(authorization=f"Bearer {wire}"))


def test_health_is_open() -> None:
    """`/health` never needs a key; nothing else is like it."""
    LOCKED.check(head(path="/health"))
    for path in ("/health/", "/health/x", "/v1/health", "/HEALTH", "/"):
        with pytest.raises(InvalidApiKey):
            LOCKED.check(head(path=path))


def test_a_preflight_needs_no_key() -> None:
    """A browser never sends one; but any other OPTIONS needs one."""
    LOCKED.check(preflight("http://localhost:3000"))
    with pytest.raises(InvalidApiKey):
        LOCKED.check(head("OPTIONS", origin="http://localhost:3000"))
    with pytest.raises(InvalidApiKey):
        LOCKED.check(head("POST", access_control_request_method="POST"))


def test_without_keys_all_may_come() -> None:
    """A key that nobody asked for does no harm."""
    OPEN.check(head())
    OPEN.check(head(authorization="Bearer sk-anything"))


@settings(deadline=None)
@given(st.binary())
def test_any_authorization_is_answered(value: bytes) -> None:
    """Whatever bytes a client sends as its key, it is told that it has none."""
    for text in (value.decode("latin-1"), f"Basic {value.decode('latin-1')}", f"Basic {b64encode(value).decode()}"):
        with pytest.raises(InvalidApiKey):
            LOCKED.check(head(authorization=text))


# Origins...

FRIENDS = [
    "http://localhost",
    "http://localhost:3000",
    "https://localhost:3000",
    "http://LOCALHOST:3000",
    "http://localhost.",
    "http://foo.localhost:8080",
    "http://127.0.0.1:5005",
    "http://127.0.0.2",
    "http://[::1]",
    "http://[::1]:3000",
    "app://obsidian.md",
    "file://",
    "tauri://localhost",
    "vscode-webview://0a1b2c",
    "https://chat.example.com",
]

STRANGERS = [
    "null",
    "http://evil.com",
    "https://evil.com",
    "http://localhost.evil.com",
    "http://127.0.0.1.evil.com",
    "http://evil.com#localhost",
    "http://evil.com?localhost",
    "http://evil.com/localhost",
    "http://localhost@evil.com",
    "http://localhost:80@evil.com",
    "http://evil-localhost",
    "http://notlocalhost",
    "http://0.0.0.0:5005",
    "http://192.168.1.2",
    "http://[::1",
    "http://[::2]",
    "http://",
    "localhost",
    "//localhost",
    "javascript://localhost",
    "ftp://localhost",
    "chrome-extension://abc",
    "*",
    "http://chat.example.com",
    "https://chat.example.com:8443",
    "https://chat.example.com.evil.com",
    "https://evil.chat.example.com",
    "\x00",
    "http://\xff",
]


@pytest.mark.parametrize("origin", FRIENDS)
def test_friendly_pages_may_call(origin: str) -> None:
    """Loopback pages, desktop apps and what the config names; their browser is told so."""
    OPEN.check(head(origin=origin))
    OPEN.check(preflight(origin))
    assert (b"access-control-allow-origin", origin.encode()) in OPEN.headers(head(origin=origin))


@pytest.mark.parametrize("origin", STRANGERS)
def test_foreign_pages_may_not(origin: str) -> None:
    """Nor may "null", which any site can be; no header lets them read an answer."""
    with pytest.raises(ForbiddenOrigin) as error:
        OPEN.check(head(origin=origin))
    assert (error.value.status, error.value.code) == (403, "forbidden_origin")
    assert str(error.value).isprintable()
    with pytest.raises(ForbiddenOrigin):
        OPEN.check(preflight(origin))
    assert OPEN.headers(preflight(origin)) == []


@settings(deadline=None)
@given(st.text(st.characters(max_codepoint=255)))
def test_no_suffix_makes_a_stranger_friendly(text: str) -> None:
    """Whatever a site puts before its own name, it stays a stranger."""
    assert not OPEN.is_friend(f"http://{text.translate(dict.fromkeys(map(ord, '/?#@')))}.evil.com")


def test_strangers_get_nowhere_even_with_a_key() -> None:
    """And a stranger is turned away before its key is looked at."""
    for headers in ({"x_api_key": "first"}, {"x_api_key": "wrong"}, {}):
        with pytest.raises(ForbiddenOrigin):
            LOCKED.check(head(origin="http://evil.com", **headers))
    with pytest.raises(ForbiddenOrigin):
        LOCKED.check(head(path="/health", origin="http://evil.com"))


@pytest.mark.parametrize("site", ["same-origin", "same-site", "none", "cross-site"])
def test_where_a_browser_says_the_request_is_from(site: str) -> None:
    """A form or an image on a foreign page has no Origin: `Sec-Fetch-Site` betrays it. A friend may be elsewhere."""
    OPEN.check(head(sec_fetch_site=site, origin="http://localhost:3000"))
    OPEN.check(head(sec_fetch_site=site, origin="https://chat.example.com"))
    if site != "cross-site":
        OPEN.check(head(sec_fetch_site=site))
    else:
        with pytest.raises(ForbiddenOrigin):
            OPEN.check(head(sec_fetch_site=site))
    with pytest.raises(ForbiddenOrigin):
        OPEN.check(head(sec_fetch_site=site, origin="http://evil.com"))


# Hosts...


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:5005",
        "127.0.0.1",
        "127.0.0.2:80",
        "[::1]:5005",
        "[::1]",
        "localhost",
        "localhost.",
        "LocalHost:5005",
        "localhost.:5005",
        "llm.localhost:5005",
        "",
    ],
)
def test_this_machines_own_hosts(host: str) -> None:
    """All names of the loopback device, with a port or without; and HTTP/1.0, which has no Host."""
    OPEN.check(head(host=host))


@pytest.mark.parametrize(
    "host",
    [
        "evil.com",
        "evil.com:5005",
        "evil.com:port",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "127.0.0.1@evil.com",
        "0.0.0.0:5005",
        "192.168.1.2:5005",
        "[::2]:5005",
        "[::1",
        "::1]",
        "[evil]",
        "[]",
        ":5005",
        "/",
        "@",
        "\xff",
    ],
)
def test_a_name_that_was_rebound(host: str) -> None:
    """A page that has its own name point to 127.0.0.1 is same-origin to a browser; its Host gives it away."""
    with pytest.raises(ForbiddenOrigin) as error:
        OPEN.check(head(host=host))
    assert str(error.value).isprintable()
    assert "server.hosts" in str(error.value)


@pytest.mark.parametrize(
    "host",
    [
        *("192.168.1.2:5005", "10.0.0.1", "[fe80::1]:5005", "[2001:db8::1]", "8.8.8.8:5005", "0.0.0.0:5005"),
        *("localhost:5005", "127.0.0.1:5005", "x.localhost"),
        *(
            "studio",
            "studio:5005",
            "Anns-Mac.local:5005",
            "anns-mac.local.",
            "host.docker.internal:5005",
            "x.home.arpa",
        ),
        *("box.example.com", "BOX.example.com.:5005", "llm.example.org", "LLM.example.org:443", ""),
    ],
)
def test_what_an_open_listener_is_called(host: str) -> None:
    """Addresses, what the machine is called, what no site on the internet can be called, and what the config says."""
    NETWORK.check(head(host=host))


@pytest.mark.parametrize(
    "host",
    [
        *("evil.com", "evil.com:5005", "192.168.1.2.evil.com", "192.168.1.2@evil.com", "local.evil.com", "local.com"),
        *("box.example.com.evil.com", "example.com", "x.llm.example.org", "evillocal.com", "evil.internal.com"),
        *("/", "@", "[]", "[evil]", "[::1", ".", "..", "\xff.com"),
    ],
)
@pytest.mark.parametrize("path", ["/unload", "/logs", "/v1/models", "/health"])
def test_a_name_that_was_rebound_to_an_open_listener(host: str, path: str) -> None:
    """Without keys nothing else keeps a page out whose name leads here."""
    with pytest.raises(ForbiddenOrigin, match=r"server\.hosts"):
        NETWORK.check(head(path=path, host=host))


def test_a_key_makes_any_name_good() -> None:
    """A page that was rebound has none; a proxy in front may call us anything."""
    LOCKED.check(head(host="llm.example.org", authorization="Bearer first"))
    with pytest.raises(InvalidApiKey):
        LOCKED.check(head(host="evil.com"))


def test_hosts_of_a_loopback_listener() -> None:
    """A proxy on this machine passes on the name that it is called by."""
    guard = made(api_keys=(), origins=(), loopback=True, hosts=("LLM.example.org",))
    guard.check(head(host="llm.example.org"))
    for host in ("192.168.1.2", "studio", "evil.com"):
        with pytest.raises(ForbiddenOrigin):
            guard.check(head(host=host))


def test_the_systems_name_of_this_machine_is_known() -> None:
    """However it is called."""
    made(api_keys=(), origins=(), loopback=False).check(head(host=f"{socket.gethostname().upper()}:5005"))


# Referers...


@pytest.mark.parametrize("path", ["/unload", "/unload/", "//unload", "/v1/unload", "/upstream/m/health"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_acts_by_get_wants_no_foreign_page(path: str, method: str) -> None:
    """An image on a page has no Origin, and to plain HTTP no `Sec-Fetch-Site`."""
    for referer in (
        "http://evil.com/",
        "https://evil.com/x?localhost",
        "http://localhost@evil.com",
        "http://[::1",
        "x",
    ):
        with pytest.raises(ForbiddenOrigin):
            NETWORK.check(head(method, path, host="192.168.1.2:5005", referer=referer))
    for referer in (
        "http://192.168.1.2:5005/ui",
        "http://localhost:3000/",
        "https://chat.example.com/a",
        "app://x",
        "",
    ):
        NETWORK.check(head(method, path, host="192.168.1.2:5005", referer=referer))
    # behind a proxy the page's own name is not ours; its browser knows that they are one
    NETWORK.check(head(method, path, host="localhost", referer="https://x.org/", sec_fetch_site="same-origin"))


def test_a_look_that_loads_acts_too() -> None:
    """A page could have every model of a machine loaded, one after the other."""
    look = evolve(head(path="/props", host="192.168.1.2:5005", referer="http://evil.com/"), query=b"model=m")
    NETWORK.check(look)
    with pytest.raises(ForbiddenOrigin):
        NETWORK.check(evolve(look, query=b"model=m&autoload=true"))


def test_what_only_looks_may_be_linked_to() -> None:
    """Such as a page about the server in a wiki; and programs name themselves as they like."""
    for path in ("/v1/models", "/logs", "/unloaded", "/"):
        NETWORK.check(head(path=path, referer="https://wiki.example.net/"))
    NETWORK.check(head("POST", "/v1/chat/completions", referer="https://some.app/"))


# The token of this user's commands...


def test_the_token_is_a_key_beside_the_others() -> None:
    """And is none where there is none."""
    guard = made(api_keys=("first",), origins=(), loopback=True, token="tok")
    guard.check(head(authorization="Bearer tok"))
    guard.check(head(authorization="Bearer first"))
    for wrong in ("", "to", "tokk"):
        with pytest.raises(InvalidApiKey):
            guard.check(head(authorization=f"Bearer {wrong}"))
    with pytest.raises(InvalidApiKey):
        made(api_keys=("first",), origins=(), loopback=True).check(head(authorization="Bearer "))
    assert "tok" not in repr(guard).replace("token", "")
    assert "first" not in repr(guard)


def test_hosts_of_http_2() -> None:
    """There the host is called `:authority`."""
    rebound = RequestHead(method="GET", path="/", raw_path=b"/", headers=[(b":authority", b"evil.com")])
    with pytest.raises(ForbiddenOrigin):
        OPEN.check(rebound)


@settings(deadline=None)
@given(st.text(st.characters(max_codepoint=255)))
def test_any_host_is_answered(host: str) -> None:
    """No Host breaks the check."""
    with contextlib.suppress(ForbiddenOrigin):
        OPEN.check(head(host=host))


# What friendly pages are told...


def test_cors_headers_are_for_friends_only() -> None:
    """Who sends no Origin is no page, and gets none."""
    assert OPEN.headers(head()) == []
    assert OPEN.headers(head(origin="http://localhost:3000")) == [
        (b"access-control-allow-origin", b"http://localhost:3000"),
        (b"vary", b"Origin"),
    ]


def test_a_preflight_is_told_what_may_be_sent() -> None:
    """The headers that the page asks for, and the way into a private network if that is asked, too."""
    told = dict(OPEN.headers(preflight("app://x", access_control_request_headers="content-type,x-foo")))
    assert told[b"access-control-allow-headers"] == b"content-type,x-foo"
    assert told[b"access-control-allow-methods"] == b"GET, POST, OPTIONS"
    assert int(told[b"access-control-max-age"]) > 0
    assert b"access-control-allow-private-network" not in told
    told = dict(OPEN.headers(preflight("app://x", access_control_request_private_network="true")))
    assert told[b"access-control-allow-private-network"] == b"true"
    assert b"access-control-allow-credentials" not in told


def test_what_a_preflight_is() -> None:
    """OPTIONS with the browser's question; nothing less."""
    assert is_preflight(preflight("http://localhost"))
    assert not is_preflight(head("OPTIONS", origin="http://localhost"))
    assert not is_preflight(head("GET", access_control_request_method="GET"))


@pytest.mark.parametrize("host", ["", ".", "localhost..evil", "127.0.0.256", "127.1", "2130706433", "0x7f000001", "::"])
def test_what_is_not_loopback(host: str) -> None:
    """Only what every resolver takes for this machine."""
    assert not is_loopback(host)


def test_a_name_under_localhost_is_not_certainly_here() -> None:
    """Our own keys are not sent to what a name server says."""
    assert is_loopback("box.localhost")
    assert not is_loopback("box.localhost", certainly=True)
    assert all(is_loopback(host, certainly=True) for host in ("localhost", "LOCALHOST.", "127.0.0.2", "::1"))
