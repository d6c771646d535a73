"""Recognises, by its log lines, an engine that ended because it could not use its projector."""

from __future__ import annotations

import re

_SAID = re.compile(
    r"mtmd_init_from_file: error"
    r"|failed to load (?:multimodal|clip) model"
    r"|clip_(?:init|model_load\w*): (?:error|failed)"
    r"|(?:clip|mtmd)[\w/-]*\.cpp:\d+: GGML_ASSERT",
    re.IGNORECASE,
)
"""From llama.cpp's tools/mtmd (mtmd.cpp, clip.cpp) and tools/server/server-context.cpp, current and earlier versions.
"""

_TIME = re.compile(r"^[\d.:\s]+[EWIDF] ")
"""What llama-server writes before each line: the time and the level."""


def complains_of_projector(lines: tuple[str, ...]) -> str:
    """The first line that says that the projector can't be used, or ""."""
    said = (line for line in lines if not line.startswith("llmsup:") and _SAID.search(line))
    return _TIME.sub("", next(said, "")).strip()
