"""What has been found out about a request's head, for later requests with the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import Factory, define

from ..engines.http import HeaderLines

if TYPE_CHECKING:
    from ..config.schema import Config
    from .api.dialect import Route
    from .keyring import Caller


@define(eq=False)
class Known:
    """A head's findings. All heads on one connection that differ only in Content-Length share them.

    Attributes:
        allowed_by: The config whose rules have let it in, if any has. With another config, it is checked again.
        caller: Whose it was, by those rules.
        route: Its route, once that has been looked up.
        encoding: How its body is compressed; None if that hasn't been looked up.
        form: What follows a form's Content-Type, at least ";"; "" if the body is no form; None if that hasn't been
            looked up.
        target: What the engine is asked for, once that is known, if the body has no say in it.
        origin: Its Origin; "" if it has none; None if that hasn't been looked up.
        via: The llmsups that it has come through (`peers.via`); None if that hasn't been looked up.
        shown: Method and path as the log shows them, once that was needed.
        for_engine: The header lines for the engine: for the body as it came, and for the unpacked one (True).
    """

    allowed_by: Config | None = None
    caller: Caller | None = None
    route: Route | None = None
    encoding: str | None = None
    form: str | None = None
    target: bytes | None = None
    origin: str | None = None
    via: tuple[str, ...] | None = None
    shown: str = ""
    for_engine: dict[bool, HeaderLines] = Factory(dict)
