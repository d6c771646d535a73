"""Text from elsewhere, made safe for one line of a terminal."""

from __future__ import annotations

from ..process.lines import visible

__all__ = ["visible"]
