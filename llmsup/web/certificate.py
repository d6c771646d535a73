"""Loading [server]'s certificate for TLS, with errors that name the unusable file and the reason."""

from __future__ import annotations

import ssl

from ..errors import Collected, SetupError

_MAKE = "Both are PEM files: a certificate (with its chain) and its key without a password."


def context_of(certfile: str, keyfile: str) -> ssl.SSLContext:
    """Return a server's TLS context.

    Raises:
        SetupError: A file can't be read or is not PEM, or the files don't match; the message names them.
    """
    problems = Collected()
    for name, path, holds in (("certfile", certfile, "CERTIFICATE"), ("keyfile", keyfile, "PRIVATE KEY")):
        with problems.noting():
            _look(f"server.{name} {path}", path, holds)
    problems.check()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certfile, keyfile, password=_no_password)
    except SetupError as error:
        raise SetupError(f"server.keyfile {keyfile} can't be used: {error.message}", hint=_MAKE) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SetupError(f"server.keyfile {keyfile} is not the key of server.certfile {certfile}.") from None
        why = (error.reason or "they can't be read").replace("_", " ").lower()
        raise SetupError(
            f"server.certfile {certfile} and server.keyfile {keyfile} can't be used: {why}.", hint=_MAKE
        ) from None
    except OSError as error:  # it was removed, or became unreadable, since the check
        raise SetupError(f"server.certfile and server.keyfile can't be used: {error.strerror or error}.") from None
    return context


def _look(what: str, path: str, holds: str) -> None:
    """Check a file, because OpenSSL neither names it nor explains clearly what is wrong with it."""
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise SetupError(f"{what} can't be read: {error.strerror or error}.", hint="Check the path.") from None
    if b"-----BEGIN " not in text or f"{holds}-----".encode() not in text:
        raise SetupError(f"{what} can't be used: there is no {holds.lower()} in it as PEM has one.", hint=_MAKE)


def _no_password() -> str:
    """Replace OpenSSL's password prompt on the terminal, which would block everything."""
    raise SetupError("it is protected by a password, which a server can't ask for.")
