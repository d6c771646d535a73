"""What is known of the disk, from one start to the next."""

from __future__ import annotations

from pathlib import Path

import pytest
from configs import parse
from gguf_zoo import ZOO

from llmsup.catalog.found import Stamp, Unreadable
from llmsup.catalog.gguf.facts import Facts
from llmsup.catalog.gguf.header_cache import HeaderCache
from llmsup.catalog.library import Library, scan_now
from llmsup.config import Config


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose headers were read."""
    names: list[str] = []
    read = HeaderCache.read

    def counted(self: HeaderCache, stamp: Stamp) -> Facts | Unreadable:
        names.append(stamp.path.name)
        return read(self, stamp)

    monkeypatch.setattr(HeaderCache, "read", counted)
    return names


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A real header of each of three dozen architectures, and a file that is none."""
    root = tmp_path / "models"
    for name, specimen in ZOO.items():
        specimen.write(root / "zoo" / name / f"{name}.gguf")
    (root / "broken.gguf").write_bytes(b"nothing")
    text = f"server.state_dir = {str(tmp_path / 'state')!r}\ncatalog.roots = [{str(root)!r}]\ncatalog.ollama = ''"
    return parse(text, "test.toml")


def test_the_next_start_opens_nothing(config: Config, opened: list[str]) -> None:
    """What was read is kept, broken files included; only what changed is read again."""
    first = scan_now(config)
    assert len(opened) == len(ZOO) + 1
    assert first.complete
    opened.clear()
    assert scan_now(config) == first
    assert opened == []
    ZOO["llama"].write(config.catalog.roots[0] / "zoo" / "qwen3" / "qwen3.gguf", vocabulary=9)
    second = scan_now(config)
    assert opened == ["qwen3.gguf"]
    assert second.models["zoo/qwen3"].facts.architecture == "llama"


def test_progress_is_told(config: Config) -> None:
    """So many of so many, up to the end; nothing where nothing has to be read."""
    told: list[tuple[int, int]] = []
    scan_now(config, lambda read, of: told.append((read, of)))
    assert told[-1] == (len(ZOO) + 1, len(ZOO) + 1)
    told.clear()
    scan_now(config, lambda read, of: told.append((read, of)))
    assert told == []


def test_the_configs_own_files_come_first(config: Config, opened: list[str]) -> None:
    """So that what is written down is served while the rest is still read."""
    root = config.catalog.roots[0]
    own = parse(f"[models.mine]\npath = '{root}/zoo/whisper/whisper.gguf'", "test.toml").models
    library = Library(config.server.state_dir / "headers.json")
    library.survey(Config(catalog=config.catalog, models=own))
    library.read(first_only=True)
    assert opened == ["whisper.gguf"]
    assert library.pending == len(ZOO)
    assert not library.snapshot().complete


def test_a_state_dir_that_cannot_be_written_is_no_reason_to_fail(config: Config, tmp_path: Path) -> None:
    """It is told, and the models are there."""
    (tmp_path / "file").write_text("")
    library = Library(tmp_path / "file" / "headers.json")
    library.survey(config)
    library.read()
    assert library.snapshot().complete
    assert "can't be kept" in (library.save() or "")
