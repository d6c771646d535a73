"""What a pull is going to do: which files, where they go, whether the disk has room and the machine memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from ..catalog.disk.lmstudio import model_roots
from ..config.schema import Catalog, Config, MiB
from ..errors import DownloadFailed, Error, ModelTooLarge, SetupError
from ..units import Bytes, format_bytes
from .choice import Option, asked_for, by_default, listed, options, projector_of
from .fit import Fit, Fits
from .hub import HubFile, Listing
from .hub_client import Hub
from .name import HubName

UNFINISHED = ".incomplete"
"""How the name of a file ends while it is being fetched; the catalog takes none of that name for a model."""

SPARE = Bytes(64 * MiB)
"""What is left free on the disk."""


@frozen
class Wanted:
    """One file, and where it goes."""

    file: HubFile
    target: Path

    @property
    def partial(self) -> Path:
        """The file while it is being fetched: beside its place, and another one for each content that it may have."""
        return self.target.with_name(f"{self.target.name}.{self.file.digest[:12]}{UNFINISHED}")

    @property
    def there(self) -> bool:
        """Whether it is in its place, whole."""
        return self.target.exists()

    @property
    def missing(self) -> Bytes:
        """How many bytes of it are still to be fetched."""
        if self.there:
            return Bytes(0)
        try:
            come = self.partial.stat().st_size
        except OSError:
            return self.file.size
        return Bytes(self.file.size - come) if come <= self.file.size else self.file.size


@frozen(kw_only=True)
class Plan:
    """What is going to be fetched.

    Attributes:
        option: The quantisation that was chosen.
        why: Why that one, a clause; "" if it was asked for, or is the only one.
        others: The other quantisations.
        root: The catalog's root under which they go; it may have to be made.
        folder: Where they go.
        files: The files, in the order in which they are fetched and get their names: the projector, then the parts
            from the last to the first. So a model is there when all of it is.
        fit: How the model fits; None if that wasn't looked at.
        misfit: Why it would not fit, with what would; None if it does, or that wasn't looked at.
        free: Bytes free on the folder's disk.
    """

    listing: Listing
    option: Option
    why: str
    others: tuple[Option, ...]
    root: Path
    folder: Path
    files: tuple[Wanted, ...]
    fit: Fit | None
    misfit: Error | None
    free: Bytes

    @property
    def missing(self) -> Bytes:
        """Bytes still to be fetched."""
        return Bytes(sum(wanted.missing for wanted in self.files))

    @property
    def room(self) -> bool:
        """Whether the disk has room for them."""
        return not self.missing or self.missing + SPARE <= self.free

    @property
    def model(self) -> Path:
        """The file that an engine is given: the first of the model's."""
        return self.folder / self.option.parts[0].name

    def check(self) -> None:
        """Raises ModelTooLarge, DownloadFailed: It would not fit the machine, or the disk."""
        if self.misfit is not None:
            raise self.misfit
        if not self.room:
            raise DownloadFailed(
                f"{self.folder} has no room: {format_bytes(self.missing)} are to be fetched, and "
                f"{format_bytes(self.free)} are free there.",
                hint="Free some, or put a folder on another disk first into [catalog] roots.",
            )


def first_root(catalog: Catalog) -> Path:
    """The folder that models are pulled into. Blocks on the disk. Raises SetupError: The config has none."""
    roots = model_roots(catalog)
    if not roots:
        raise SetupError(
            "There is no folder to pull models into: [catalog] roots is empty.",
            hint="Write one there: roots = ['~/models'].",
        )
    return roots[0].absolute()


def plan(hub: Hub, name: HubName, config: Config, ceiling: Bytes, *, force: bool = False) -> Plan:
    """Ask the hub what there is, and choose. Nothing is fetched but headers, and nothing written.

    Args:
        ceiling: What all models together may have, in bytes.
        force: Don't look whether the model fits.

    Raises:
        ModelNotFound: There is no such repository or quantisation.
        DownloadFailed: The hub refuses, or another file has the place of one of these.
        SetupError: There is no folder for it.
    """
    root = first_root(config.catalog)
    listing = hub.listing(name)
    every = options(listing)
    fits = Fits(hub, listing, config, ceiling)
    if name.tag:
        option, why = asked_for(listing, every, name.tag), ""
    else:
        option, why = by_default(listing, every, lambda one: force or fits.of(one).fits)
    if not option.whole:
        raise DownloadFailed(
            f"{option.stem} in {listing.repo} lacks some of its parts.", hint=f"It has {listed(every)}."
        )
    fit = None if force else fits.of(option)
    others = tuple(other for other in every if other is not option)
    misfit = None
    if fit is not None and not fit.fits:
        misfit = _misfit(listing, option, fit, [one for one in others if one.base == option.base and one.whole], fits)
    folder = root / listing.repo
    projector = projector_of(option, listing.files)
    files = tuple(
        Wanted(file, folder / file.name) for file in (*([projector] if projector else ()), *reversed(option.parts))
    )
    for wanted in files:
        _check_place(wanted)
    return Plan(
        listing=listing,
        option=option,
        why=why,
        others=others,
        root=root,
        folder=folder,
        files=files,
        fit=fit,
        misfit=misfit,
        free=_free(folder),
    )


def _misfit(listing: Listing, option: Option, fit: Fit, others: Sequence[Option], fits: Fits) -> Error:
    """The refusal, with the next smaller ones that would fit."""
    what = f"{listing.repo}, {option.tag}"
    if fit.refusal:
        return DownloadFailed(f"{what} can't be served here: {fit.refusal}", hint="--force fetches it all the same.")
    smaller = [other for other in others if other.size < option.size]
    fitting = [(other, its) for other in reversed(smaller) if (its := fits.of(other)).fits][:3]
    if fitting:
        names = ", ".join(f"{other.tag} ({format_bytes(its.needs)})" for other, its in fitting)
        hint = f"These would: {names}. Pull {listing.repo}:{fitting[0][0].tag}, or this one all the same with --force."
    elif smaller:
        hint = f"Nor would its smallest, {smaller[0].tag} ({format_bytes(fits.of(smaller[0]).needs)})."
    else:
        hint = "It has no smaller one."
    return ModelTooLarge(f"{what} will not fit: it needs {fit}.", hint=hint)


def _check_place(wanted: Wanted) -> None:
    """Raises DownloadFailed: What is in a file's place isn't that file; llmsup replaces nothing."""
    name, target = wanted.file.name, wanted.target
    if not name or name.startswith(".") or "\0" in name:
        raise DownloadFailed(f"{wanted.file.path!r} can't be a file's name here.")
    if not wanted.file.size:
        raise DownloadFailed(f"The hub doesn't tell the size of {name}.", hint="Is $HF_ENDPOINT a whole mirror?")
    try:
        size = target.stat().st_size if target.is_file() else -1
    except OSError as error:
        raise DownloadFailed(f"{target} can't be looked at: {error.strerror}.") from None
    if size != wanted.file.size and os.path.lexists(target):
        is_ = f"has {size} bytes" if size >= 0 else "is no file"
        raise DownloadFailed(
            f"{target} is there already, and not the hub's: it {is_}, and the hub's has {wanted.file.size}.",
            hint="It may be an older revision. Move it away to pull the new one.",
        )


def _free(folder: Path) -> Bytes:
    """What is free where a folder is, or will be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return Bytes(shutil.disk_usage(folder).free)
    except OSError as error:
        raise DownloadFailed(f"{folder} can't be looked at: {error.strerror}.") from None
