"""How fast a model was loaded, from the server's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..memory.cost.load_mode import Load, Measured


def load_rate(load: Mapping[str, Any]) -> str:
    """A `load` of `/running`: "3.2 GB/s (mmap, 4% of its file was in the page cache)"."""
    size = load["bytes"]
    took = Load(size, size / max(load["bytes_per_second"], 1), load["cached_share"])
    return str(Measured(took, load["mode"] or ""))
