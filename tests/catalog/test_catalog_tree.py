"""The whole way: a disk full of models, looked through, read, and put together."""

from __future__ import annotations

from pathlib import Path

from catalog_tree import plant

from llmsup.catalog.build import build
from llmsup.catalog.disk.survey import survey
from llmsup.catalog.gguf.header_cache import HeaderCache


def test_every_model_is_found_once_and_the_rest_has_its_reason(tmp_path: Path) -> None:
    """Of a tree with 500 models, links, loops and litter, exactly these come out, under their own names."""
    planted = plant(tmp_path)
    seen = survey(planted.catalog)
    headers = HeaderCache(tmp_path / "headers.json")
    snapshot = build(seen, {stamp: headers.read(stamp) for stamp in seen.stamps})
    assert set(snapshot.models) == planted.ids
    assert snapshot.complete
    assert not [found for found in snapshot.models.values() if found.problem]
    reasons = {left.path: left.reason for left in snapshot.left_out}
    assert set(reasons) == set(planted.left_out)
    assert not {path: reason for path, reason in reasons.items() if planted.left_out[path] not in reason}


def test_the_next_start_reads_nothing_and_finds_the_same(tmp_path: Path) -> None:
    """What was kept of the headers answers for every file, and gives the same models."""
    planted = plant(tmp_path, 40)
    headers = HeaderCache(tmp_path / "headers.json")
    seen = survey(planted.catalog)
    known = {stamp: headers.read(stamp) for stamp in seen.stamps}
    headers.save(known)
    again = HeaderCache(tmp_path / "headers.json")
    again.load()
    stamps = survey(planted.catalog).stamps
    kept = {stamp: header for stamp in stamps if (header := again.get(stamp)) is not None}
    assert kept == known
    assert build(survey(planted.catalog), kept) == build(seen, known)
