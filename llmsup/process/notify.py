"""The service manager's ear: tells systemd when llmsup is ready and when it stops (sd_notify(3)).

It does not know what is served. Telling never fails: a service manager that doesn't listen is no reason not to serve.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping

from ..units import Seconds

log = logging.getLogger(__name__)

PATIENCE = Seconds(1)
"""How long a socket whose queue is full may hold us up."""


class Notifier:
    """What listens at $NOTIFY_SOCKET, or nobody.

    Attributes:
        address: A Unix datagram socket's path, or "@" and an abstract name (sd_notify(3)); "" for nobody.
    """

    def __init__(self, address: str = "") -> None:
        self.address = address
        self._stopping = False

    @classmethod
    def take(cls, environ: MutableMapping[str, str] = os.environ) -> Notifier:
        """The one that the environment names. It is taken out of there: an engine that knows the protocol, too
        (a container's runtime does), must not speak for us.
        """
        return cls(environ.pop("NOTIFY_SOCKET", ""))

    def ready(self, status: str) -> None:
        """Say that requests are answered; `status` is a line for people. Once `stopping` is said, nothing."""
        if not self._stopping:
            self._tell(f"READY=1\nSTATUS={' '.join(status.split())}")

    def stopping(self) -> None:
        """Say that it ends, as often as one likes."""
        if not self._stopping:
            self._stopping = True
            self._tell("STOPPING=1\nSTATUS=stopping")

    def _tell(self, message: str) -> None:
        if not self.address:
            return
        # "@" stands for the NUL byte that abstract addresses begin with (unix(7)).
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
                ear.settimeout(PATIENCE)
                ear.sendto(message.encode(), os.fsencode(address))
        except (OSError, ValueError) as error:
            log.warning("$NOTIFY_SOCKET (%s) can't be told %r: %s", self.address, message.partition("\n")[0], error)
