"""What a caller without `admin` is told of an engine: what happened, but none of its words, its command or its files.

An engine's lines quote its arguments, which may hold a password, and what the users of other keys ask. Its log is part
of the control API, and so is whatever quotes it.
"""

from __future__ import annotations

import re

from ..errors.engine import SAID

_LOG = "Its log tells more, to a key with `admin`."

# Up to its last slash, as a folder's name may have spaces. The names of models and APIs have none in front: org/model.
_PATH = re.compile(r"(?<![\w/.:~@-])(?:~[\w.-]*|\.{1,2})?/(?:[^'\",;:]*/)?[^\s'\",;:)]*?(?=\.?(?:[\s'\",;:)]|$))")


def quiet(text: str) -> str:
    """Return a text of llmsup's without what it quotes from an engine, and without paths."""
    own, said, _ = text.partition(SAID)
    own = _PATH.sub("(a path)", own)
    return f"{own.rstrip()} {_LOG}".lstrip() if said else own
