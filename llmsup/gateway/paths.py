"""One spelling for every path, so that key checks, routes, the control API and engines all see the same one."""

from __future__ import annotations

import re
from urllib.parse import unquote

_SLASHES = re.compile(rb"/{2,}")
_DOUBLED = re.compile(rb"\A(?:/v1)+(?=/v1(?:/|\Z))")
_PART_OF_A_NAME = re.compile(rb"%(?=2[fF5])")
_UNRESERVED = re.compile(rb"%([46][1-9A-Fa-f]|[57][0-9Aa]|3[0-9]|2[dDeE]|5[fF]|7[eE])")


def canonical(raw_path: bytes) -> bytes:
    """Normalise a path, percent-encoded and without its query.

    Base URLs are joined to paths carelessly: `http://host/` + `/v1/...`, `.../v1` + `/v1/...`, a final slash. So
    repeated slashes and a repeated `/v1` at the beginning count once, and a final slash doesn't count. An encoded
    letter, digit, hyphen, dot, underscore or tilde is that character (RFC 3986, 6.2.2.2). In a path under `/upstream/`
    only the beginning is normalised: the rest is passed to an engine unchanged.
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
    """Decode a path; bytes that are not UTF-8 are shown as replacement characters.

    An encoded slash stays encoded, because it is not a separator (RFC 3986, 2.2) but part of a name such as
    `/home/me/model.gguf`. So does an encoded percent sign, so that `named` can tell the two apart.
    """
    return unquote(_PART_OF_A_NAME.sub(b"%25", raw_path).decode("ascii", "replace"))


def named(part: str) -> str:
    """Return the model name in part of a `decoded` path."""
    return unquote(part)


def _split(path: bytes) -> tuple[bytes, bytes, bytes]:
    """Split a path into its first part, the slash after it if there is one, and the rest."""
    first, slash, rest = path.lstrip(b"/").partition(b"/")
    return _UNRESERVED.sub(_plain, first), slash, rest


def _plain(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode())
