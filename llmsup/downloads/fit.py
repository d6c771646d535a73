"""Whether a model would fit this machine, before it is fetched: its header is read from the hub, a few MB of it.

The estimate is the one that everything else uses. Other quantisations of the same model have the same header but for
the weights, so one is enough for all of them.
"""

from __future__ import annotations

from pathlib import Path

from attrs import Factory, define, evolve, frozen

from ..catalog.entry import Entry
from ..catalog.found import Found, Snapshot, Stamp
from ..catalog.gguf.facts import Facts
from ..catalog.gguf.reader import BadGguf, header_in
from ..catalog.gguf.summary import summarise
from ..catalog.merge import Disk, entries
from ..config.schema import Config, MiB
from ..engines.kinds import KINDS
from ..errors import DownloadFailed
from ..memory.cost.cost import cost
from ..memory.cost.estimate import Estimate, estimate
from ..units import Bytes, format_bytes
from .choice import Option, projector_of
from .hub import HubFile, Listing
from .hub_client import Hub

LEAST_CONTEXT = 8192
"""Tokens of context that a model should have room for, if it was trained for as many and the config asks for none."""

_FIRST, _MOST = 1 * MiB, 8 * MiB
"""Bytes that are asked for at once: a header without a vocabulary is small, one with a large one has 10 MB."""


@frozen(kw_only=True)
class Fit:
    """What a model would take.

    Attributes:
        needs: Bytes, once it is loaded with the context below.
        ceiling: What all models together may have, in bytes.
        tokens: Its context in tokens; 0 if that is unknown.
        reduced: Whether that is less than it would have by default, which would not fit: `ctx_size` has to be set.
        parts: What the memory is for; None if the header doesn't tell.
        refusal: Why it couldn't be served at all, a sentence; "" if it could.
    """

    needs: Bytes
    ceiling: Bytes
    tokens: int = 0
    reduced: bool = False
    parts: Estimate | None = None
    refusal: str = ""

    @property
    def fits(self) -> bool:
        """Whether it can be loaded when it is alone."""
        return self.needs <= self.ceiling and not self.refusal

    def __str__(self) -> str:
        context = f" with {self.tokens} tokens of context" if self.tokens else ""
        return f"{format_bytes(self.needs)}{context}, and all models together may have {format_bytes(self.ceiling)}"


@define
class Fits:
    """How the models of one repository would fit.

    Attributes:
        ceiling: What all models together may have, in bytes.
    """

    hub: Hub
    listing: Listing
    config: Config
    ceiling: Bytes
    _headers: dict[str, Facts] = Factory(dict)

    def of(self, option: Option) -> Fit:
        """How one would; its header is read from the hub unless that of another quantisation has been.

        Raises:
            DownloadFailed: Its file is no GGUF, or can't be read.
        """
        facts = self._facts(option.base, option.parts[0])
        whole = self._fit(option, facts, self.config)
        asked = self.config.defaults.ctx_size
        if whole.fits or asked or whole.refusal or whole.tokens <= LEAST_CONTEXT:
            return whole
        best = whole
        tokens = LEAST_CONTEXT
        while tokens < whole.tokens:
            less = evolve(self.config, defaults=evolve(self.config.defaults, ctx_size=tokens))
            reduced = evolve(self._fit(option, facts, less), reduced=True)
            if not reduced.fits:
                return reduced if best is whole else best
            best, tokens = reduced, 2 * tokens
        return best

    def _fit(self, option: Option, facts: Facts, config: Config) -> Fit:
        entry = self._entry(option, facts, config)
        estimated = estimate(entry.spec, entry.found)
        return Fit(
            needs=cost(entry, estimated, None).least,
            ceiling=self.ceiling,
            tokens=estimated.context.n_ctx if estimated else 0,
            parts=estimated,
            refusal=entry.refusal,
        )

    def _entry(self, option: Option, facts: Facts, config: Config) -> Entry:
        """The model as it would be served, had it been found on the disk and without a table in the config."""
        projector = projector_of(option, self.listing.files)
        files = (*option.parts, *([projector] if projector else ()))
        found = Found(
            id=option.stem,
            path=Path(option.parts[0].name),
            files=tuple(Stamp(Path(file.name), file.size, 0) for file in files),
            facts=evolve(facts, weights=option.size),
            projector=Path(projector.name) if projector else None,
            projector_facts=self._facts(projector.path, projector) if projector else None,
        )
        alone = evolve(config, models={}, catalog=evolve(config.catalog, roots=(), serve_all=True))
        (entry,) = entries(alone, Disk(snapshot=Snapshot(models={found.id: found}), engines=KINDS)).values()
        return entry

    def _facts(self, key: str, file: HubFile) -> Facts:
        if key not in self._headers:
            try:
                header = header_in(_Ahead(self.hub, self.listing, file), file.size)
            except BadGguf as bad:
                raise DownloadFailed(
                    f"{file.path} of {self.listing.repo} is nothing that llama.cpp could load: {bad.reason}.",
                    hint="--force fetches it all the same.",
                ) from None
            self._headers[key] = summarise(header, file.size, file_name=file.name)
        return self._headers[key]


class _Ahead:
    """Reads parts of a file of the hub, each further than was asked for: every request takes a while."""

    def __init__(self, hub: Hub, listing: Listing, file: HubFile) -> None:
        self._hub, self._listing, self._file = hub, listing, file
        self._data, self._base, self._step = b"", 0, _FIRST

    def __call__(self, length: int, offset: int) -> bytes:
        at = offset - self._base
        if not 0 <= at < len(self._data):
            end = min(offset + max(length, self._step), self._file.size)
            self._data = self._hub.read(self._listing, self._file, offset, end) if end > offset else b""
            self._base, self._step, at = offset, min(2 * self._step, _MOST), 0
        return self._data[at : at + length]
