"""`llmsup service`: llmsup as a launchd agent or a systemd user unit.

It does not know how a server runs: the service runs `llmsup serve`.
"""

from .commands import command

__all__ = ["command"]
