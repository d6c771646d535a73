"""Text from elsewhere, made fit for one line of a terminal.

It does not know where the text comes from nor where it goes.
"""

from __future__ import annotations

from ..process.line import visible

__all__ = ["visible"]
