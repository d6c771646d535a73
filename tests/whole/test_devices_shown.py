"""A machine with a GPU of its own memory, as far as one can be played: what check, ps, /memory and /metrics say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result
from gguf_files import tiny_llama
from prometheus_client.parser import text_string_to_metric_families
from serving import Served, fake, serving

from llmsup.cli import main
from llmsup.config.schema import GiB, Server
from llmsup.memory.amounts import Amounts
from llmsup.memory.machine.reading import Gpu
from llmsup.memory.machine.sampler import Gpus
from llmsup.units import Bytes

CARD = Gpu("NVIDIA L4", Bytes(24 * GiB), Bytes(20 * GiB), source="nvml", id="GPU-1")
SPARK = Gpu("NVIDIA GB10", source="nvml")


@pytest.fixture
def with_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every engine has 3 GiB there."""

    async def read(_self: Gpus) -> tuple[Gpu, ...]:
        return (CARD, SPARK)

    async def used_by(_self: Gpus, _pids: object) -> Amounts:
        return Amounts({"gpu0": 3 * GiB})

    monkeypatch.setattr(Gpus, "read", read)
    monkeypatch.setattr(Gpus, "used_by", used_by)


def committed(served: Served) -> Amounts:
    """What its engine was measured to have on devices."""
    run = served.fleet.models["m"].run
    return run.engine.meter.devices if run and run.engine else Amounts()


async def llmsup(served: Served, *words: str) -> str:
    url = f"http://127.0.0.1:{served.client.port}"
    done = await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, [*words, "--url", url]))
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.usefixtures("with_a_card")
async def test_a_running_llmsup_tells_of_its_devices(tmp_path: Path) -> None:
    """A device whose memory is the host's is none of them. What is measured is not for other tests to find."""
    async with serving(fake("m"), server=Server(state_dir=tmp_path)) as served:
        assert (await served.client.chat("m")).status == 200
        with trio.fail_after(60):
            await served.fleet.models["m"].until(lambda: bool(committed(served)))
        memory = (await served.client.get("/memory")).json
        assert memory["devices"] == [
            {
                "pool": "gpu0",
                "name": "NVIDIA L4",
                "total_bytes": 24 * GiB,
                "committed_bytes": 3 * GiB,
                "free_bytes": 20 * GiB,
                "level": "normal",
                "since": None,
                "reason": "",
                "shortfall_bytes": 0,
            }
        ]
        assert memory["models"][0]["devices"] == {"gpu0": 3 * GiB}
        assert memory["ceiling_bytes"] > 24 * GiB
        assert "3.0 GiB of 24.0 GiB (12%) of gpu0 · NVIDIA L4 · 20.0 GiB free" in await llmsup(served, "ps")
        text = (await served.client.get("/metrics")).body.decode()
        families = {each.name: each.samples for each in text_string_to_metric_families(text)}
        labels = {"device": "gpu0", "name": "NVIDIA L4"}
        for name, value in (
            ("total_bytes", 24 * GiB),
            ("free_bytes", 20 * GiB),
            ("committed_bytes", 3 * GiB),
            ("short", 0),
        ):
            (sample,) = families[f"llmsup_device_{name}"]
            assert (sample.labels, sample.value) == (labels, value)


PROGRAM = """#!/bin/sh
case "$*" in
*--list-devices)
    echo "Available devices:"
    echo "  CUDA0: NVIDIA L4 (23500 MiB, 20000 MiB free)";;
*--version) echo "version: 1";;
*) cat "{help}";;
esac
"""


def check(folder: Path, *words: str, **keys: Any) -> Result:
    """`check` of one model with such keys, on a llama-server that finds the card."""
    program, config = folder / "llama-server", folder / "l.toml"
    program.write_text(PROGRAM.format(help=Path(__file__).parents[1] / "data" / "llama-server-b10068-help.txt"))
    program.chmod(0o700)
    tiny_llama(folder / "m.gguf")
    said = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    config.write_text(
        f'[engines.llama-server]\ncommand = "{program}"\n'
        f'[models.m]\nengine = "llama-server"\npath = "{folder}/m.gguf"\nctx_size = 512\n{said}'
    )
    return CliRunner().invoke(main, ["check", "--config", str(config), *words])


@pytest.mark.skipif(sys.platform != "linux", reason="a Mac has no such devices")
@pytest.mark.usefixtures("with_a_card")
def test_check_says_where_models_go(tmp_path: Path) -> None:
    """And which devices there are."""
    text = check(tmp_path).output
    assert "gpu0: NVIDIA L4, 24.0 GiB, 20.0 GiB free" in text
    assert " on gpu0" in text
    whole = json.loads(check(tmp_path, "--json").stdout)
    assert whole["devices"] == [{"pool": "gpu0", "name": "NVIDIA L4", "total_bytes": 24 * GiB, "free_bytes": 20 * GiB}]
    (model,) = whole["models"]
    assert set(model["devices"]) == {"gpu0"}
    assert 0 < model["devices"]["gpu0"] < model["memory_bytes"]
    for keys in ({"devices": ["none"]}, {"devices": ["CUDA0"], "args": ["--device", "none"]}):
        (model,) = json.loads(check(tmp_path, "--json", **keys).stdout)["models"]
        assert model["devices"] == {}, "the engine's last word counts"


@pytest.mark.usefixtures("with_a_card")
def test_check_refuses_a_device_that_is_not_there(tmp_path: Path) -> None:
    """With those that are."""
    result = check(tmp_path, devices=["CUDA0", "CUDA3"])
    assert result.exit_code == 2
    assert "model m: devices has 'CUDA3', which its engine doesn't find" in result.output
    assert "CUDA0 (NVIDIA L4, 22.9 GiB)" in result.output


def test_check_on_a_machine_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said of devices, and no program is asked for them."""

    async def none(_self: Gpus) -> tuple[Gpu, ...]:
        return ()

    monkeypatch.setattr(Gpus, "read", none)
    result = check(tmp_path)
    assert result.exit_code == 0, result.output
    assert "gpu" not in result.output
    assert json.loads(check(tmp_path, "--json").stdout)["devices"] == []
