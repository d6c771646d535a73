"""`llmsup top`: the models, alive, and keys to load, unload and pin them."""

from .command import command

__all__ = ["command"]
