"""One spelling for every path, before anybody looks at it: keys, routes, the control API and engines see the same.

It does not know which paths there are, except that what follows `/upstream/` is the engine's own.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

_SLASHES = re.compile(rb"/{2,}")
_DOUBLED = re.compile(rb"\A(?:/v1)+(?=/v1(?:/|\Z))")
_PART_OF_A_NAME = re.compile(rb"%(?=2[fF5])")
_UNRESERVED = re.compile(rb"%([46][1-9A-Fa-f]|[57][0-9Aa]|3[0-9]|2[dDeE]|5[fF]|7[eE])")


def canonical(raw_path: bytes) -> bytes:
    """A path, percent-encoded and without its query, as it is meant.

    Base URLs are joined to paths carelessly: `http://host/` + `/v1/...`, `.../v1` + `/v1/...`, a slash at the end. So
    repeated slashes count as one, `/v1` at the beginning counts once, and a slash at the end not at all. An encoded
    letter, digit, hyphen, dot, underscore or tilde is that character (RFC 3986, 6.2.2.2). Of a path under
    `/upstream/`, that holds only for its beginning: the rest goes to an engine as it came.
    """
    if raw_path == b"*":
        return raw_path  # OPTIONS * (RFC 9110, 9.3.7)
    first, slash, rest = _split(raw_path)
    if first == b"upstream" and slash:
        return b"/upstream/" + rest.lstrip(b"/")
    path = _SLASHES.sub(b"/", _UNRESERVED.sub(_plain, raw_path))
    path = _DOUBLED.sub(b"", path)
    return path if path == b"/" else path.removesuffix(b"/")


def decoded(raw_path: bytes) -> str:
    """A path as people write it; what is no UTF-8 is shown as such. An encoded slash stays one, as it doesn't part
    anything (RFC 3986, 2.2): it belongs to a name such as `/home/me/model.gguf`. So does an encoded percent sign, for
    `named` to know one from the other.
    """
    return unquote(_PART_OF_A_NAME.sub(b"%25", raw_path).decode("ascii", "replace"))


def named(part: str) -> str:
    """The name of a model that stands in a path which was `decoded`."""
    return unquote(part)


def _split(path: bytes) -> tuple[bytes, bytes, bytes]:
    """The first part of a path, the slash after it if there is one, and the rest."""
    first, slash, rest = path.lstrip(b"/").partition(b"/")
    return _UNRESERVED.sub(_plain, first), slash, rest


def _plain(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode())
