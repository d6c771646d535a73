"""The ids that models were given, kept from one run to the next, so that a name in clients' settings stays valid.

Which names a model may have is decided in `labels` and `sources`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from attrs import frozen

from ..process.atomic import write_atomic
from ..process.kept import read_kept
from .build import Key
from .found import Found

FORMAT = 1
LARGEST_FILE = 8 * 1024**2


_Files = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


@frozen
class _Document:
    format: int
    ids: dict[str, _Files]  # the first real file, then the adapters, by id


class Ids:
    """Ids by the models' identity. `load` and `save` block on the disk; one call at a time, from any thread."""

    def __init__(self, file: Path) -> None:
        """`file`: where they are kept."""
        self._file = file
        self._models: dict[str, Key] = {}
        self._saved: dict[str, Key] = {}

    def load(self) -> str | None:
        """Load what was saved; a file that is missing, damaged or of another version counts as empty.

        Returns:
            Why an existing file couldn't be used, a sentence, or None.
        """
        self._models, self._saved = {}, {}
        said, trouble = read_kept(
            self._file, _Document, version=FORMAT, largest=LARGEST_FILE, instead="the models' ids are chosen anew"
        )
        if said is not None:
            self._models = {id_: (Path(first), tuple(map(Path, more))) for id_, (first, *more) in said.ids.items()}
        self._saved = dict(self._models)
        return trouble

    @property
    def given(self) -> Mapping[Key, str]:
        """The last id of each model."""
        return {key: id_ for id_, key in self._models.items()}

    def note(self, models: Mapping[str, Found]) -> None:
        """Record the ids that models have now. A model that is missing keeps its id unless another one has it by now:
        it may come back, as when its manifest is just being rewritten.
        """
        here = {_key(found): id_ for id_, found in models.items()}
        kept = {id_: key for id_, key in self._models.items() if key not in here and id_ not in models}
        self._models = {**kept, **{id_: key for key, id_ in here.items()}}

    def save(self, models: Iterable[str]) -> str | None:
        """Write the ids of these models; nothing is written if nothing changed.

        Returns:
            Why they could not be written, a sentence; None on success.
        """
        texts = {id_: self._models[id_] for id_ in models if id_ in self._models and _is_text(self._models[id_])}
        if texts == self._saved:
            return None
        data = {id_: tuple(map(str, (first, *more))) for id_, (first, more) in texts.items()}
        try:
            write_atomic(self._file, msgspec.json.encode(_Document(FORMAT, data)))
        except OSError as error:
            return f"the models' ids can't be kept in {self._file}: {error.strerror or error}."
        self._saved = texts
        return None


def _key(found: Found) -> Key:
    return found.files[0].path, found.adapters


def _is_text(key: Key) -> bool:
    """Whether all paths can be written as UTF-8 JSON."""
    try:
        "".join(map(str, (key[0], *key[1]))).encode()
    except UnicodeEncodeError:
        return False
    return True
