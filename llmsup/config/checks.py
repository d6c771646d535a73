"""Checks on a value beyond its type (ranges, addresses, origins), as attrs validators for the schema.

Each sees one key only; checks between keys are in `consistency`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from cronsim import CronSim, CronSimError

from ..units import format_seconds
from .tilde import expand

HASH = re.compile(r"sha256:[0-9a-f]{64}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_DEVICE = re.compile(r"[A-Za-z][\w.-]*", re.ASCII)
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}")

Validator = Callable[[Any, Any, Any], None]

_LISTEN = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^\[\]:\s/]*)):(?P<port>[0-9]{1,5})")

_HOST = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", re.ASCII)
"""A host name (internationalised ones in punycode, "xn--…", as browsers send them) or an IP address; IPv6 without
brackets."""


def parse_listen(text: str) -> tuple[str, int]:
    """Parse "127.0.0.1:5005" or "[::1]:5005".

    As in llama-swap and Ollama, ":5005" means every address (the host is ""). Port 0 asks the system for a free port.

    Raises:
        ValueError: The text is not an address; the message can be shown to the user.
    """
    match = _LISTEN.fullmatch(text)
    if not match or int(match["port"]) > 65535:
        raise ValueError(f'{text!r} is not HOST:PORT: write "127.0.0.1:5005" or "[::1]:5005", port 0 to 65535')
    return match["v6"] or match["host"] or "", int(match["port"])


def at_least(low: float) -> Validator:
    """Accept numbers from `low` up, and anything that is not a number ("auto")."""

    def check(_instance: Any, _attribute: Any, value: Any) -> None:
        if isinstance(value, int | float) and value < low:
            raise ValueError(f"must be at least {low}, not {value}")

    return check


def within(low: int, high: int) -> Validator:
    """Accept numbers from `low` to `high`, and anything that is not a number ("auto")."""

    def check(_instance: Any, _attribute: Any, value: Any) -> None:
        if isinstance(value, int | float) and not low <= value <= high:
            raise ValueError(f"must be {low} to {high}, not {value}")

    return check


def positive(_instance: Any, _attribute: Any, value: Any) -> None:
    """Accept durations and sizes above zero, and anything that is not a number ("auto", none)."""
    if isinstance(value, int | float) and value <= 0:
        raise ValueError("must be more than 0")


def finite(_instance: Any, _attribute: Any, value: float) -> None:
    """Accept finite durations."""
    if math.isinf(value):
        raise ValueError(f'must end: "{format_seconds(value)}" is not possible here')


def address(_instance: Any, _attribute: Any, value: str) -> None:
    """Accept HOST:PORT."""
    parse_listen(value)


def address_or_none(_instance: Any, _attribute: Any, value: str) -> None:
    """Accept HOST:PORT, and "" for none."""
    if value:
        parse_listen(value)


def origins(_instance: Any, _attribute: Any, value: tuple[str, ...]) -> None:
    """Accept web origins as browsers send them; anything else would silently never match."""
    for origin in value:
        parts = urlsplit(origin)
        if not parts.scheme or not parts.netloc or f"{parts.scheme}://{parts.netloc}" != origin:
            raise ValueError(f'{origin!r} is not a web origin: write "https://host" or "https://host:port"')


def hosts(_instance: Any, _attribute: Any, value: tuple[str, ...]) -> None:
    """Accept this machine's names as in a `Host` header, without a port; anything else would silently never match."""
    for name in value:
        if not _HOST.fullmatch(name):
            raise ValueError(f'{name!r} is not a host\'s name: write "llm.example.org", without scheme and port')


def keys(_instance: Any, _attribute: Any, value: tuple[str, ...]) -> None:
    """Accept API keys that can be sent in a header; the message never shows one."""
    if not all(key and key == key.strip() and key.isprintable() for key in value):
        raise ValueError("an API key can't be empty, start or end with a space, or hold control characters")


def key_or_none(instance: Any, attribute: Any, value: str) -> None:
    """Accept "" and an API key that can be sent in a header; the message never shows it."""
    if value:
        keys(instance, attribute, (value,))


def server_url(_instance: Any, _attribute: Any, value: str) -> None:
    """Accept "" and the address of an HTTP server, with or without a path."""
    if value and (wrong := _wrong_with(value)):
        raise ValueError(f'{wrong}: write "http://studio.local:5005" or "https://…"')


def _wrong_with(url: str) -> str:
    """What is wrong with a server's address; "" if nothing is. What may be a password or a key isn't repeated."""
    wrong = ""
    try:
        parts = urlsplit(url)
        port: int | None = parts.port
    except ValueError:  # brackets without an IPv6 address in them, or a port that is no number or too large
        parts, port = urlsplit(""), 0
    if not url.isprintable() or " " in parts.netloc:
        wrong = f"{url!r} holds spaces or control characters"
    elif not url.startswith(("http://", "https://")):
        wrong = f"{url!r} doesn't begin with http:// or https://"
    elif port == 0:
        wrong = f"{url!r} has no port from 1 to 65535, or no IPv6 address within [ ]"
    elif not parts.hostname:
        wrong = f"{url!r} names no host"
    elif parts.path.rstrip("/").endswith("/v1"):
        wrong = f"{url!r} has the path that clients need: leave out /v1"
    if "@" in (url if wrong else parts.netloc):  # which may also stand in a path
        return "an address can't have a name and a password in it; a key has its own key, 'key'"
    if "?" in url or "#" in url:
        return "an address can't have a query ('?') or a fragment ('#') in it; a key has its own key, 'key'"
    return wrong


def worker_address(_instance: Any, _attribute: Any, value: str) -> None:
    """Accept "" and the HOST:PORT of an RPC worker, which speaks no HTTP."""
    if not value:
        return
    host, port = parse_listen(value)
    if not host or not port:
        raise ValueError(f'{value!r} doesn\'t say where the worker is: write "127.0.0.1:50052"')


def plain_fingerprint(value: str) -> str:
    """Return the SHA-256 of a certificate as it is compared, "sha256:" and hexadecimal digits in lower case, from what
    tools print: "sha256 Fingerprint=D0:23:…", or the digits alone. Anything else is left as it is.
    """
    digits = re.sub(r"^sha256( fingerprint=|:)", "", value.strip().casefold()).replace(":", "")
    whole = f"sha256:{digits}"
    return whole if HASH.fullmatch(whole) else value


def fingerprint(_instance: Any, _attribute: Any, value: str) -> None:
    """Accept "" and the SHA-256 of a certificate, in any way that `plain_fingerprint` reads."""
    if value and not HASH.fullmatch(plain_fingerprint(value)):
        raise ValueError(
            f'{value!r} is not a certificate\'s fingerprint, by SHA-256: write "sha256:" and 64 hexadecimal digits, or '
            "what `openssl x509 -fingerprint -sha256` prints"
        )


def mac(_instance: Any, _attribute: Any, value: str) -> None:
    """Accept "" and the address of a network card."""
    if value and not _MAC.fullmatch(value):
        raise ValueError(f'{value!r} is not a network card\'s address: write "a4:83:e7:01:02:03"')


def devices(_instance: Any, _attribute: Any, value: tuple[str, ...]) -> None:
    """Accept the names of devices, each once, as an engine lists them, or "none" alone for none of them."""
    for name in value:
        if not _DEVICE.fullmatch(name):
            raise ValueError(f'{name!r} is not a device\'s name: write ["CUDA0", "CUDA1"]')
    if len(set(value)) < len(value):
        raise ValueError("a device is named twice")
    if "none" in value and len(value) > 1:
        raise ValueError('"none" leaves only the CPU: write it alone')


def key_hash(_instance: Any, _attribute: Any, value: str) -> None:
    """Accept "" and a SHA-256 in hexadecimal. A key written here by mistake is not repeated in the message."""
    if value and not HASH.fullmatch(value):
        raise ValueError(
            "it is not the hash of a key: `llmsup key new` makes a key and writes its hash here, "
            'which is "sha256:" and 64 hexadecimal digits'
        )


def variable(_instance: Any, _attribute: Any, value: str) -> None:
    """Accept "" and the name of an environment variable; a value that is none may be a key, and is not repeated."""
    if value and not _VARIABLE.fullmatch(value):
        raise ValueError('it is not the name of an environment variable: write "LAPTOP_KEY", without $, not the key')


def url_path(_instance: Any, _attribute: Any, value: str) -> None:
    """Accept "" and paths such as "/health"."""
    if value and not (value.startswith("/") and value.isprintable() and " " not in value):
        raise ValueError(f"{value!r} is not a path: it must start with '/' and hold no spaces")


def url_paths(instance: Any, attribute: Any, value: tuple[str, ...]) -> None:
    """Accept paths such as "/status", or patterns of them, such as "/ui/*"."""
    for path in value:
        if not path:
            raise ValueError("'' is not a path: it must start with '/'")
        url_path(instance, attribute, path)


def known_home(_instance: Any, _attribute: Any, value: Any) -> None:
    """Accept paths whose `~` could be expanded."""
    for path in value if isinstance(value, tuple) else (value,):
        if path is not None and str(expand(path)).startswith("~"):
            raise ValueError(f"{str(path)!r}: no such home directory")


def cron(_instance: Any, _attribute: Any, value: str) -> None:
    """Accept "" and five fields that `bridge.schedule` can read."""
    if not value:
        return
    if len(value.split()) != 5:  # cronsim would also take a sixth field, seconds, in front
        raise ValueError(f'{value!r} is not a schedule: write five fields, "minute hour day month weekday"')
    try:
        never = next(CronSim(value, datetime(2000, 1, 1, tzinfo=UTC)), None) is None
    except CronSimError as error:
        raise ValueError(f"{value!r} is not a schedule: {str(error).lower()}") from None
    if never:
        raise ValueError(f"{value!r} is not a schedule: no date matches it")


def names(_instance: Any, _attribute: Any, value: tuple[str, ...]) -> None:
    """Accept names that a request can carry."""
    for name in value:
        check_name(name)


def check_name(name: str) -> None:
    """Accept a name that can stand in a request, a path and a log line.

    Raises:
        ValueError: The name can't be used; the message can be shown to the user.
    """
    if not name:
        raise ValueError("a name can't be empty")
    if name != name.strip():
        raise ValueError(f"{name!r} starts or ends with a space")
    if not name.isprintable():
        raise ValueError(f"{name!r} holds control characters")
