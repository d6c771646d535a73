"""Converts llama-swap's YAML to llmsup's TOML: what each key becomes, and which have no counterpart.

Nothing in the file is ever run.
"""

from .whole import Imported, convert

__all__ = ["Imported", "convert"]
