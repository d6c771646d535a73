"""`llmsup run`: a chat in the terminal."""

from .command import command

__all__ = ["command"]
