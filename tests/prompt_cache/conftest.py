"""Fixtures of the saved conversations' tests."""

from __future__ import annotations

from prompt_bench import bench, spec

__all__ = ["bench", "spec"]
