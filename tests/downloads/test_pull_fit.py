"""Whether a model fits this machine is told before it is fetched, with the numbers and what would fit instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from fake_hub import FakeHub, hub, model
from projector_files import write_mmproj

from llmsup.catalog.library import scan_now
from llmsup.catalog.merge import Disk, entries
from llmsup.config.schema import Bridge, Catalog, Config, MiB, Server
from llmsup.downloads.fetch import fetch
from llmsup.downloads.name import HubName
from llmsup.downloads.plan import Plan, plan
from llmsup.engines.kinds import KINDS
from llmsup.errors import DownloadFailed, ModelTooLarge
from llmsup.memory.cost.estimate import estimate
from llmsup.units import NEVER, Bytes

__all__ = ["hub"]  # the fixture

REPO = "org/Tiny-GGUF"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    catalog = Catalog(roots=(tmp_path / "models",), ollama=None)
    return Config(server=Server(state_dir=tmp_path / "state"), catalog=catalog, bridge=Bridge(every=NEVER))


def planned(hub: FakeHub, config: Config, mib: int, tag: str = "", *, force: bool = False) -> Plan:
    return plan(hub.connect(), HubName(REPO, tag), config, Bytes(mib * MiB), force=force)


def offer(hub: FakeHub, folder: Path, sizes: dict[str, int], **more: Any) -> None:
    """Quantisations of one model, with the MB of each."""
    hub.repos[REPO] = {
        f"Tiny-{quant}.gguf": model(folder, quant, rows=2000 * mb, **more) for quant, mb in sizes.items()
    }


def test_the_estimate_is_that_of_the_file_once_it_is_there(hub: FakeHub, config: Config, tmp_path: Path) -> None:
    """What a projector takes is in it; and one header is enough for all quantisations."""
    offer(hub, tmp_path, {"Q4_K_M": 2, "Q8_0": 4})
    hub.repos[REPO]["mmproj-F16.gguf"] = write_mmproj(tmp_path / "mmproj.gguf", 256).read_bytes()
    the_plan = planned(hub, config, 1000)
    assert the_plan.fit is not None
    assert the_plan.fit.fits
    assert len({path for where, path, *_ in hub.seen if where == "storage"}) == 2
    list(fetch(hub.connect(), the_plan))
    (entry,) = entries(config, Disk(snapshot=scan_now(config), engines=KINDS)).values()
    real = estimate(entry.spec, entry.found)
    assert real is not None
    assert the_plan.fit.parts is not None
    assert the_plan.fit.parts.projector == real.projector > 0
    header = the_plan.option.size - real.weights
    assert the_plan.fit.needs == real.total + header, "all of the file counts as weights"
    assert header < 10_000


def test_one_that_will_not_fit_names_those_that_would(hub: FakeHub, config: Config, tmp_path: Path) -> None:
    offer(hub, tmp_path, {"Q2_K": 1, "Q3_K_M": 2, "Q4_K_M": 4, "Q6_K": 6, "Q8_0": 9})
    needs = planned(hub, config, 1000, "Q4_K_M").fit
    assert needs is not None
    mib = needs.needs // MiB + 1
    too_large = planned(hub, config, mib, "Q8_0")
    assert too_large.misfit is not None
    said = str(too_large.misfit)
    assert said.startswith(f"{REPO}, Q8_0 will not fit: it needs ")
    assert f"with 4096 tokens of context, and all models together may have {mib}" in said
    order = [said.index(f"{quant} (") for quant in ("Q4_K_M", "Q3_K_M", "Q2_K")]
    assert order == sorted(order)
    assert "Q6_K" not in said
    assert f"Pull {REPO}:Q4_K_M, or this one all the same with --force." in said
    with pytest.raises(ModelTooLarge):
        too_large.check()
    planned(hub, config, mib, "Q8_0", force=True).check()
    assert planned(hub, config, mib).option.tag == "Q4_K_M"
    smaller = planned(hub, config, mib - 2)
    assert (smaller.option.tag, smaller.why) == ("Q3_K_M", "the best that fits, as Q4_K_M would not fit this machine")
    nothing = planned(hub, config, 1).misfit
    assert "Q4_K_M will not fit" in str(nothing)
    assert "Nor would its smallest, Q2_K (" in str(nothing)


def test_a_context_that_will_not_fit_is_no_reason_not_to_pull(hub: FakeHub, config: Config, tmp_path: Path) -> None:
    """The largest power of two that fits is told; a context that the config asks for is what counts."""
    offer(hub, tmp_path, {"Q4_K_M": 2}, **{"llama.context_length": 131072})
    whole = planned(hub, config, 100_000).fit
    assert whole is not None
    assert (whole.tokens, whole.reduced) == (131072, False)
    less = planned(hub, config, whole.needs // MiB - 10).fit
    assert less is not None
    assert (less.fits, less.reduced, less.tokens) == (True, True, 65536)
    asking = evolve(config, defaults=evolve(config.defaults, ctx_size=131072))
    assert planned(hub, asking, whole.needs // MiB - 10).misfit is not None
    least = planned(hub, config, 30)
    assert "with 8192 tokens of context" in str(least.misfit)


@pytest.mark.parametrize("data", [b"version https://git-lfs.github.com/spec/v1\n", b"GGUF\x03"])
def test_what_is_no_gguf_is_not_fetched(hub: FakeHub, config: Config, data: bytes) -> None:
    hub.repos[REPO] = {"Tiny-Q4_K_M.gguf": data}
    with pytest.raises(DownloadFailed, match=r"is nothing that llama\.cpp could load: it "):
        planned(hub, config, 1000)
    assert planned(hub, config, 1000, force=True).files[0].file.size == len(data)


def test_a_header_with_a_large_vocabulary_takes_few_requests(hub: FakeHub, config: Config, tmp_path: Path) -> None:
    words = [f"token{number}" for number in range(100_000)]
    offer(hub, tmp_path, {"Q4_K_M": 10}, **{"tokenizer.ggml.tokens": words})
    assert planned(hub, config, 1000).fit is not None
    assert len(hub.ranges) < 5
    taken = sum(int(end) - int(start) + 1 for start, end in (asked[6:].split("-") for asked in hub.ranges))
    assert taken < len(hub.repos[REPO]["Tiny-Q4_K_M.gguf"]) / 2
