"""vLLM as a kind of engine, against a stand-in that is written from its documentation; the real one wants a GPU."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from changing import reload
from click.testing import CliRunner
from serving import serving
from vllms import FAKE_VLLM, recorded, tensors, with_vllm

from llmsup.catalog.entry import Entry
from llmsup.catalog.tensors import tensors_at
from llmsup.cli import main
from llmsup.config.live import LiveConfig
from llmsup.config.schema import Config, EngineSpec, GiB, ModelSpec
from llmsup.engines.address import TcpAddress, UnixAddress
from llmsup.engines.launch import Launch
from llmsup.engines.llama_server.flag_probe import FlagProbe
from llmsup.engines.selector import EngineSelector
from llmsup.engines.vllm.flags import parse_flags
from llmsup.errors import SetupError
from llmsup.memory.cost.cost import cost
from llmsup.memory.cost.estimate import estimate
from llmsup.units import Bytes

SOCKET = Path("/run/1.sock")


@pytest.fixture(name="model")
def directory(tmp_path: Path) -> Path:
    return tensors(tmp_path / "Qwen3-0.6B")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAKE_VLLM", raising=False)


async def plan(model: Path, sizes: dict[str, int] | None = None, **spec: Any) -> Launch:
    """How one model is started; `sizes`: the devices of the machine."""
    table = EngineSpec(name="vllm", command=(sys.executable, str(FAKE_VLLM)))
    selector = EngineSelector(
        config=LiveConfig(Config(engines={"vllm": table})), probe=FlagProbe(), device_sizes=lambda: sizes or {}
    )
    return await selector.plan(ModelSpec(name="m", path=str(model), engine="vllm", **spec), SOCKET)


async def words(model: Path, **spec: Any) -> list[str]:
    """The words behind those that are always there."""
    argv = (await plan(model, **spec)).argv
    return list(argv[argv.index("--served-model-name") + 2 :])


# --- the command line ---------------------------------------------------------------------------------------------


async def test_it_is_started_on_a_socket_of_ours(model: Path) -> None:
    launch = await plan(model)
    expected = (sys.executable, str(FAKE_VLLM), "serve", str(model), "--uds", str(SOCKET), "--served-model-name", "m")
    assert launch.argv == expected
    assert launch.address == UnixAddress(SOCKET)
    assert launch.env == {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    assert launch.health == "/health"


@pytest.mark.parametrize("moods", [{"lacks": ["--uds"]}, {"no_help": True}], ids=["older", "says nothing"])
async def test_it_gets_a_port_where_a_socket_is_not_known_to_work(
    model: Path, monkeypatch: pytest.MonkeyPatch, moods: dict[str, Any]
) -> None:
    monkeypatch.setenv("FAKE_VLLM", json.dumps(moods))
    launch = await plan(model)
    assert isinstance(launch.address, TcpAddress)
    assert list(launch.argv[4:8]) == ["--host", "127.0.0.1", "--port", str(launch.address.port)]


async def test_settings_become_its_flags(model: Path) -> None:
    assert await words(model, ctx_size=8192, parallel=4) == ["--max-model-len", "8192", "--max-num-seqs", "4"]
    assert await words(model, kind="embedding") == ["--runner", "pooling"]
    assert await words(model, kind="rerank", args=("--runner=generate",)) == ["--runner=generate"]
    assert await words(model, env={"RAY_ADDRESS": "10.0.0.1:6379"}, args=("-tp", "2")) == [
        "--distributed-executor-backend",
        "ray",
        "-tp",
        "2",
    ]


async def test_a_declared_size_becomes_a_share_of_the_devices(model: Path) -> None:
    """As it takes a share of a device whatever the model needs."""
    devices = {"gpu0": 24 * GiB, "gpu1": 24 * GiB}
    assert await words(model, sizes=devices, memory=Bytes(6 * GiB), sleep=0) == ["--gpu-memory-utilization", "0.25"]
    two = ("-tp", "2")
    assert await words(model, sizes=devices, memory=Bytes(6 * GiB), sleep=0, args=two) == [
        *("--gpu-memory-utilization", "0.125"),
        *two,
    ]
    own = ("--gpu-memory-utilization", "0.5")
    assert await words(model, sizes=devices, memory=Bytes(6 * GiB), sleep=0, args=own) == [*own]
    assert await words(model, memory=Bytes(6 * GiB)) == []


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--port", "1"), "args has '--port', which llmsup sets itself"),
        (("--served_model_name=x",), "args has '--served-model-name', which llmsup sets itself"),
        (("--max-modl-len", "1"), r"does not know\. Did you mean --max-model-len\?"),
    ],
)
async def test_args_that_it_would_not_survive_are_refused(model: Path, args: tuple[str, ...], why: str) -> None:
    with pytest.raises(SetupError, match=why):
        await plan(model, args=args)


def test_a_help_text_is_read() -> None:
    """As Python's argparse writes it, before 3.13 and after."""
    text = """usage: vllm serve [model_tag] [options]

Frontend:
  --uds UDS             Unix domain socket path. If set, --host is ignored.
  --api-server-count API_SERVER_COUNT, -asc API_SERVER_COUNT
                        How many, as --data-parallel-size says
  --enable-sleep-mode, --no-enable-sleep-mode
  --tensor-parallel-size, -tp TENSOR_PARALLEL_SIZE
  --runner {auto,pooling}
"""
    assert parse_flags(text) == {
        *("--uds", "--api-server-count", "-asc", "--enable-sleep-mode", "--no-enable-sleep-mode"),
        *("--tensor-parallel-size", "-tp", "--runner"),
    }


async def test_sampling_goes_with_the_requests(model: Path) -> None:
    """In its words; what it has nothing for is told, unless it would do nothing anyway."""
    said = {"temperature": 0.5, "top_k": 0, "repeat_penalty": 1.1, "seed": -1, "n_predict": 7, "top_n_sigma": 1.5}
    launch = await plan(model, sampling={**said, "xtc_probability": 0.0})
    assert launch.body_defaults == {"temperature": 0.5, "top_k": -1, "repetition_penalty": 1.1, "max_tokens": 7}
    assert launch.corrections == ("sampling.top_n_sigma: vLLM has nothing like it, so it is left out",)
    assert (await plan(model, kind="embedding", sampling=said)).body_defaults == {}


async def test_without_a_program_the_error_names_both_ways_out(model: Path) -> None:
    selector = EngineSelector(config=LiveConfig(Config()), probe=FlagProbe(), which=lambda program: None)
    with pytest.raises(SetupError, match=r"vllm is not on PATH.*\[engines.vllm\] command"):
        await selector.plan(ModelSpec(name="m", path=str(model), engine="vllm"), SOCKET)


async def test_the_help_is_asked_for_once(model: Path, tmp_path: Path) -> None:
    """It takes many seconds."""
    count, wrapper = tmp_path / "count", tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\necho >> {count}\nexec {sys.executable} {FAKE_VLLM} "$@"\n')
    wrapper.chmod(0o755)
    probe, table = FlagProbe(), EngineSpec(name="vllm", command=(str(wrapper),))
    selector = EngineSelector(config=LiveConfig(Config(engines={"vllm": table})), probe=probe)
    for name in "abc":
        await selector.plan(ModelSpec(name=name, path=str(model), engine="vllm"), SOCKET)
    assert count.read_text() == "\n"


# --- sleep --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sleep", "sizes", "sleeps"),
    [("auto", {"gpu0": GiB}, True), ("auto", {}, False), (0, {"gpu0": GiB}, False), (1, {}, True), (2, {}, True)],
)
async def test_it_can_sleep_where_that_gives_something_back(
    model: Path, sleep: Any, sizes: dict[str, int], sleeps: bool
) -> None:
    launch = await plan(model, sizes, sleep=sleep)
    assert ("--enable-sleep-mode" in launch.argv) is sleeps
    assert (launch.env.get("VLLM_SERVER_DEV_MODE") == "1") is sleeps
    assert (launch.sleep is not None) is sleeps
    assert (launch.open_paths is not None) is sleeps


async def test_its_development_mode_is_not_opened_to_other_users(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port on loopback is everybody's on the machine."""
    monkeypatch.setenv("FAKE_VLLM", json.dumps({"lacks": ["--uds"]}))
    assert (await plan(model, {"gpu0": GiB})).sleep is None
    monkeypatch.setenv("FAKE_VLLM", json.dumps({"lacks": ["--enable-sleep-mode"]}))
    launch = await plan(model, {"gpu0": GiB}, sleep=1)
    assert launch.sleep is None
    assert "has no --enable-sleep-mode" in launch.corrections[0]


# --- the directory ------------------------------------------------------------------------------------------------


def test_what_a_directory_says(tmp_path: Path) -> None:
    found = tensors_at(tensors(tmp_path / "m", parts=2, size=GiB), "m")
    facts = found.facts
    assert (facts.architecture, facts.kind, facts.weights, facts.context_length) == ("qwen3", "chat", 2 * GiB, 40960)
    assert (facts.tools, facts.thinking, facts.quantisation) == (True, True, "bfloat16")
    assert [stamp.path.name for stamp in found.files][-1] == "config.json"
    assert found.problem == ""


@pytest.mark.parametrize(
    ("lost", "problem"),
    [
        ("config.json", "it has no config.json"),
        ("model-00002-of-00002.safetensors", "model-00002-of-00002.safetensors of its model.safetensors.index.json is"),
    ],
)
def test_what_is_missing_is_told(tmp_path: Path, lost: str, problem: str) -> None:
    (tensors(tmp_path / "m", parts=2) / lost).unlink()
    assert problem in tensors_at(tmp_path / "m", "m").problem


@pytest.mark.parametrize("text", ["[]", '{"text_config": 7, "num_hidden_layers": "x"}', "{", '{"architectures": [1]}'])
def test_any_config_is_survived(tmp_path: Path, text: str) -> None:
    folder = tensors(tmp_path / "m")
    (folder / "config.json").write_text(text)
    assert tensors_at(folder, "m").facts.kind == "unknown"


def test_the_estimate_is_what_it_needs_at_least(model: Path) -> None:
    """The weights, and a cache for one request of full length: with less it doesn't start."""
    spec = ModelSpec(name="m", path=str(model), engine="vllm", ctx_size=1000)
    made = estimate(spec, tensors_at(model, "m"))
    assert made is not None
    assert (made.weights, made.kv) == (1000, 28 * 1000 * 2 * 8 * 128 * 2)


@pytest.mark.parametrize(
    ("args", "memory", "expected"),
    [
        ((), None, {"gpu0": 92}),
        (("--gpu-memory-utilization", "0.5"), None, {"gpu0": 50}),
        (("-tp", "2"), None, {"gpu0": 92, "gpu1": 92}),
        ((), Bytes(40), {"gpu0": 40}),
        (("--kv-cache-memory-bytes", "1G"), None, {}),
    ],
)
def test_what_it_takes_is_a_share_of_its_devices(
    model: Path, args: tuple[str, ...], memory: Bytes | None, expected: dict[str, int]
) -> None:
    spec = ModelSpec(name="m", path=str(model), engine="vllm", args=args, memory=memory)
    found = tensors_at(model, "m")
    made = estimate(spec, found)
    assert made is not None
    told = cost(Entry(spec=spec, found=found), made, None, sizes={"gpu0": 100, "gpu1": 100})
    assert {pool: told.devices[pool] for pool in told.devices} == expected


# --- a whole llmsup -----------------------------------------------------------------------------------------------


async def test_it_serves(tmp_path: Path, model: Path) -> None:
    """Under every name that the model has, whatever name vLLM knows; streamed, too."""
    settings = with_vllm(
        tmp_path, f'[models.m]\nengine = "vllm"\npath = "{model}"\naliases = ["other"]\nsampling.top_k = 7'
    )
    async with serving(config=settings) as served:
        answer = (await served.client.chat("other")).json
        assert answer["choices"][0]["message"]["content"].startswith("token0 token1")
        assert answer["request_body"]["top_k"] == 7
        async with served.client.stream("m") as pieces:
            assert b"[DONE]" in b"".join([piece async for piece in pieces])
        (listed,) = (await served.client.get("/v1/models")).json["data"]
        assert (listed["architecture"], listed["context_length"]) == ("qwen3", 40960)
        (start,) = recorded(tmp_path, "start")
        assert start["env"]["VLLM_NO_USAGE_STATS"] == "1"


async def test_what_is_no_model_is_refused_with_the_reason(tmp_path: Path, model: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(b"GGUF")
    settings = with_vllm(
        tmp_path,
        f"""[models.hub]\nengine = "vllm"\npath = "Qwen/Qwen3-0.6B"
[models.file]\nengine = "vllm"\npath = "{file}"
[models.empty]\nengine = "vllm"\npath = "{tmp_path / "none"}"
""",
    )
    (tmp_path / "none").mkdir()
    async with serving(config=settings) as served:
        for name, why in (("hub", "nothing is downloaded"), ("file", "it is a file"), ("empty", "no config.json")):
            got = await served.client.chat(name)
            assert got.status >= 400
            assert why in got.error["message"], got.error


def test_check_tells_what_is_wrong_with_a_path_once(tmp_path: Path) -> None:
    file = tmp_path / "llmsup.toml"
    file.write_text('[catalog]\nroots = []\nollama = ""\n[models.hub]\nengine = "vllm"\npath = "Qwen/Qwen3-0.6B"\n')
    told = CliRunner().invoke(main, ["check", "--config", str(file)])
    assert told.output.count("matches no file") == 1
    assert "nothing is downloaded" in told.output


async def test_a_file_that_changes_replaces_the_engine(tmp_path: Path, model: Path) -> None:
    settings = with_vllm(tmp_path, f'[models.m]\nengine = "vllm"\npath = "{model}"')
    async with serving(config=settings) as served:
        await served.client.chat("m")
        os.utime(model / "config.json", (1, 1))
        assert (await reload(served))["changed"] == ["m"]
        assert (await served.client.chat("m")).status == 200
        assert len(recorded(tmp_path, "start")) == 2


@pytest.mark.parametrize("path", ["/sleep?level=2", "/collective_rpc", "//sleep", "/v1/../sleep", "/%73leep", "/pause"])
async def test_clients_do_not_reach_its_development_mode(tmp_path: Path, model: Path, path: str) -> None:
    settings = with_vllm(tmp_path, f'[models.m]\nengine = "vllm"\npath = "{model}"\nsleep = 1')
    async with serving(config=settings) as served:
        assert (await served.client.get("/upstream/m/version")).json == {"version": "0.33.0"}
        got = await served.client.ask("POST", f"/upstream/m{path}", {})
        assert (got.status, "not for clients" in got.error["message"]) == (404, True)
        assert recorded(tmp_path, "sleep") == []
