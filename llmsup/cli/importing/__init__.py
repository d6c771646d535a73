"""llama-swap's YAML as llmsup's TOML: what each of its keys becomes, and what becomes of none.

It does not know where the file came from, nor where the result goes. Nothing that stands in the file is ever run.
"""

from .whole import Imported, convert

__all__ = ["Imported", "convert"]
