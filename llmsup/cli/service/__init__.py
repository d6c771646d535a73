"""`llmsup service`: runs `llmsup serve` as a launchd agent or a systemd user unit."""

from .commands import command

__all__ = ["command"]
