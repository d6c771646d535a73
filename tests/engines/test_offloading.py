"""What an engine is told about devices: by the config's keys, by the user's own words, and what it makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from llmsup.config.live import LiveConfig
from llmsup.config.schema import Config, EngineSpec, ModelSpec
from llmsup.engines.bundled import kind as bundled
from llmsup.engines.devices import Device
from llmsup.engines.llama_server.flag_probe import FlagProbe, parse_flags
from llmsup.engines.llama_server.flags import FlagSet, render
from llmsup.engines.llama_server.given import MOST, Given
from llmsup.engines.llama_server.offloading import check_devices, device_order, offload
from llmsup.engines.offload import Offload
from llmsup.engines.selector import EngineSelector
from llmsup.errors import SetupError
from llmsup.process.inheritance import Inheritance
from llmsup.units import Bytes

HELP = (Path(__file__).parents[1] / "data" / "llama-server-b10068-help.txt").read_text()
B10068 = FlagSet(parse_flags(HELP), "llama-server b10068")
GIB = 1024**3


def spec(*args: str, **settings: Any) -> ModelSpec:
    return ModelSpec(name="m", path="m.gguf", args=args, **settings)


def told(*args: str, environ: dict[str, str] | None = None, **settings: Any) -> Offload:
    said = spec(*args, **settings)
    return offload(said, Given(said, environ or {}))


FREE = Offload(shrinks=True)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("", FREE),
        ("-ngl 12", evolve(FREE, layers=12)),
        ("-ngl all", evolve(FREE, layers=MOST)),
        ("--gpu-layers -2", evolve(FREE, layers=MOST)),
        ("-ngl auto", FREE),
        ("-ngl -1", FREE),
        ("-ngl rubbish", FREE),
        ("--fit off", Offload(layers=MOST)),
        ("--fit off -ngl 3", Offload(layers=3)),
        ("-c 4096", Offload()),
        ("-dev CUDA1,CUDA0", evolve(FREE, devices=("CUDA1", "CUDA0"))),
        ("--device none", evolve(FREE, devices=())),
        ("-ts 3,1", evolve(FREE, split=(3.0, 1.0))),
        ("-ts 3/1", evolve(FREE, split=(3.0, 1.0))),
        ("-ts 3,x", FREE),
        ("-ts 3,-1", FREE),
        ("-ts inf", FREE),
        ("-sm none -mg 1", evolve(FREE, one=True, main=1)),
        ("-nkvo", evolve(FREE, caches=False)),
        ("--no-mmproj-offload", evolve(FREE, projector=False)),
    ],
)
def test_own_words(args: str, expected: Offload) -> None:
    assert told(*args.split()) == expected


def test_keys_variables_and_words() -> None:
    """A word wins over a key, and that over the variable, which would be ignored by the engine too."""
    environ = {"LLAMA_ARG_N_GPU_LAYERS": "7", "LLAMA_ARG_DEVICE": "CUDA7"}
    assert told(environ=environ) == evolve(FREE, layers=7, devices=("CUDA7",))
    keys = {"n_gpu_layers": 0, "devices": ("CUDA0", "CUDA1"), "ctx_size": 4096}
    assert told(environ=environ, **keys) == Offload(layers=0, devices=("CUDA0", "CUDA1"))
    own = told("-ngl", "3", "--device", "Vulkan0", environ=environ, **keys)
    assert own == Offload(layers=3, devices=("Vulkan0",))
    assert told(devices=("none",)).devices == ()


def test_the_flag() -> None:
    """In the spelling of the build; one without it says so."""
    words = render(spec(devices=("CUDA0", "CUDA1")), B10068, threads=None).words
    assert words[words.index("--device") + 1] == "CUDA0,CUDA1"
    assert "--device" not in render(spec(), B10068, threads=None).words
    with pytest.raises(SetupError, match=r"the bundled engine can't be given devices: it has no --device"):
        render(spec(devices=("CUDA0",)), bundled.FLAG_SET, threads=None)


def test_cuda_counts_as_nvidia_smi_does() -> None:
    """If the config names its devices, and the user hasn't said otherwise."""
    assert device_order(spec(devices=("CUDA0",)), {}) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert device_order(spec(devices=("CUDA0",)), {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}) == {}
    assert device_order(spec(devices=("CUDA0",), env={"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}), {}) == {}
    assert device_order(spec(devices=("Vulkan0",)), {}) == device_order(spec(), {}) == {}


def test_a_device_that_is_not_there() -> None:
    """All that aren't are told, and which there are."""
    there = (Device("CUDA0", "NVIDIA L4", Bytes(24 * GIB), Bytes(GIB)), Device("BLAS", "OpenBLAS"))
    check_devices(spec(devices=("CUDA0",)), there)
    check_devices(spec(devices=("none",)), there)
    check_devices(spec(devices=("CUDA7",)), None)
    with pytest.raises(SetupError) as raised:
        check_devices(spec(devices=("CUDA7", "CUDA0", "Vulkan0")), there)
    text = str(raised.value)
    assert "model m: devices has 'CUDA7', which its engine doesn't find" in text
    assert "'Vulkan0'" in text
    assert "CUDA0 (NVIDIA L4, 24.0 GiB), BLAS (OpenBLAS)" in text


PROGRAM = """#!/bin/sh
case "$*" in
*--list-devices)
    echo asked >> "$0.asked"
    echo "Available devices:"
    [ -z "$CUDA_VISIBLE_DEVICES" ] && echo "  CUDA0: NVIDIA L4 (24000 MiB, 23000 MiB free)"
    [ "$CUDA_DEVICE_ORDER" = PCI_BUS_ID ] && echo "  CUDA1: NVIDIA T4 (16000 MiB, 15000 MiB free)"
    exit 0;;
*) cat "$0.help";;
esac
"""


def server(folder: Path, help_text: str = HELP) -> Path:
    program = folder / "llama-server"
    program.write_text(PROGRAM)
    program.chmod(0o700)
    Path(f"{program}.help").write_text(help_text)
    return program


def asked(program: Path) -> list[str]:
    """How often it was asked for its devices."""
    log = Path(f"{program}.asked")
    return log.read_text().split() if log.exists() else []


def selector(program: Path) -> EngineSelector:
    table = EngineSpec(name="llama-server", command=(str(program),))
    probe = FlagProbe(inheritance=Inheritance())
    return EngineSelector(config=LiveConfig(Config(engines={"llama-server": table})), probe=probe)


async def test_a_start_looks_whether_the_devices_are_there(tmp_path: Path) -> None:
    """With the model's own environment, once for each; without `devices` nobody asks."""
    program = server(tmp_path)
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    choose = selector(program)
    socket = tmp_path / "s.sock"

    def model(**settings: Any) -> ModelSpec:
        return ModelSpec(name="m", path=str(tmp_path / "m.gguf"), engine="llama-server", **settings)

    await choose.plan(model(), socket)
    assert not asked(program)
    for _ in range(2):
        launch = await choose.plan(model(devices=("CUDA1",)), socket)
    assert launch.env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert "CUDA1" in launch.argv
    assert asked(program) == ["asked"]
    with pytest.raises(SetupError, match=r"devices has 'CUDA0'.*names: CUDA1"):
        await choose.plan(model(devices=("CUDA0",), env={"CUDA_VISIBLE_DEVICES": "1"}), socket)
    assert asked(program) == ["asked", "asked"]


async def test_a_build_that_takes_no_devices_says_only_that(tmp_path: Path) -> None:
    """That it doesn't find one leads nowhere: it would refuse ["none"], too."""
    program = server(tmp_path, HELP.replace("--device", "--devoid").replace("-dev,", "-dvd,"))
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    spec = ModelSpec(name="m", path=str(tmp_path / "m.gguf"), engine="llama-server", devices=("CUDA7",))
    with pytest.raises(SetupError, match="can't be given devices: it has no --device") as raised:
        await selector(program).plan(spec, tmp_path / "s.sock")
    assert "doesn't find" not in str(raised.value)
    assert not asked(program)


async def test_a_build_that_lists_none_is_not_asked(tmp_path: Path) -> None:
    """Then it will say itself what is wrong."""
    program = server(tmp_path, HELP.replace("--list-devices", "--lust-devices"))
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    said = ModelSpec(name="m", path=str(tmp_path / "m.gguf"), engine="llama-server", devices=("CUDA9",))
    assert "CUDA9" in (await selector(program).plan(said, tmp_path / "s.sock")).argv
