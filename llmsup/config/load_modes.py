"""The ways to load a model's weights that a config may name."""

from __future__ import annotations

from typing import Literal, get_args

LoadMode = Literal["mmap", "read", "direct"]
"""How an engine gets at the weights: "mmap" maps the file, "read" reads it into memory of its own (llama.cpp's
`--no-mmap`), "direct" does that past the system's page cache.
"""

LOAD_MODES: tuple[LoadMode, ...] = get_args(LoadMode)
"""All of them, llama.cpp's usual one first."""
