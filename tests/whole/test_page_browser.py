"""The page in a real Chromium, against a llmsup with fake engines and with a real one.

What it looks like is kept in `.pictures/`, which git ignores.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import page_past
import pytest
import rpc_setting
import trio
from attrs import evolve
from changing import Setting
from chromium import chromium, driven
from fake_peers import with_peers
from page_past import CODER, MARKUP
from peers_seen import serving_with
from peers_seen import several as several_peers
from real_engines import smollm2
from serving import fake, serving

from llmsup.config.keys import hash_of
from llmsup.config.schema import Bridge, Config, History, KeySpec, Memory, ModelSpec, RpcSpec, Server
from llmsup.fleet.model.states import State
from llmsup.peers.offer import Offer
from llmsup.peers.peer import PeerState
from llmsup.units import NEVER, Bytes, Seconds

PICTURES = Path(__file__).parents[2] / ".pictures"
MIB = 1024**2

pytestmark = [pytest.mark.slow, pytest.mark.road("fast")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One for all tests."""
    PICTURES.mkdir(exist_ok=True)
    with chromium(tmp_path_factory.mktemp("chromium")) as at:
        yield at


def config(state: Path, *models: ModelSpec, limit: int = 4096, **server: Any) -> Config:
    """`limit` is in MiB."""
    return Config(
        models={model.name: model for model in models},
        server=Server(state_dir=state, shutdown_grace=Seconds(1), **server),
        memory=Memory(limit=Bytes(limit * MIB), reserve=Bytes(512 * MIB)),
        bridge=Bridge(every=NEVER),
    )


def several() -> tuple[ModelSpec, ...]:
    """Models in all states, with names that are long, short, or look like markup."""
    presets = {"creative": {"temperature": 1.3}}
    return (
        fake("writer", "--timings", memory=Bytes(1500 * MIB), priority="high", presets=presets),
        fake(CODER, memory=Bytes(2048 * MIB)),
        fake("embedder", memory=Bytes(300 * MIB), kind="embedding", pinned=True),
        fake(MARKUP, memory=Bytes(1024 * MIB)),
        fake("broken", "--exit-after", "0", "--exit-code", "3", "--print", "error: no such file"),
        fake("huge", memory=Bytes(900 * 1024 * MIB)),
    )


def fine(seen: dict[str, Any]) -> None:
    """Nothing on the console, nobody else asked, nothing serious for axe, no name that became markup, nothing kept."""
    assert (seen["trouble"], seen["foreign"], seen["axe"]) == ([], [], [])
    assert seen.get("left", {"markup": 0, "kept": 0}) == {"markup": 0, "kept": 0}


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
async def test_every_view(browser: str, width: int, dark: bool, tmp_path: Path) -> None:
    page_past.write(tmp_path)
    async with serving(config=config(tmp_path, *several())) as served:
        for model in ("writer", MARKUP, "broken"):
            await served.client.chat(model)
        for model in ("embedder", CODER):
            await served.client.post("/models/load", model=model)
        seen = await driven(browser, served.client.port, "views", width=width, dark=dark, pictures=str(PICTURES))
        fine(seen)
        assert seen["wide"] == []


async def test_models_are_loaded_explained_pinned_and_unloaded(browser: str, tmp_path: Path) -> None:
    """By keyboard, and with what would have to go told first."""
    names = {"model": MARKUP, "other": "writer", "huge": "huge"}
    sizes = {MARKUP: 1024, "writer": 1536, "huge": 9000}
    models = (fake(name, memory=Bytes(size * MIB)) for name, size in sizes.items())
    async with serving(config=config(tmp_path, *models, limit=2048)) as served:
        assert (await served.client.post("/models/load", model="writer")).status == 200
        seen = await driven(browser, served.client.port, "acts", **names, pictures=str(PICTURES))
        fine(seen)
        assert seen["title"] == "Now – llmsup"
        assert seen["never"][0].startswith("huge can't be loaded: ")
        assert seen["never"][1] == "Close"
        assert seen["offered"][0].startswith(f"{MARKUP} would be loaded, and writer unloaded for it: it needs 1.0 GiB")
        assert seen["offered"][1].startswith("writer frees ")
        assert "loading it again would take" in seen["offered"][1]
        assert seen["focused"] == "Load it, and unload these"
        assert seen["loaded"][0] == MARKUP
        assert any(each.startswith("Loaded in ") for each in seen["loaded"])
        assert seen["why"][0].startswith("Unloading it would free ")
        assert "fake_engine.py" in seen["why"][-1]
        assert (seen["pinned"], seen["unpinned"]) == (["pinned", "Unpin"], ["", "Pin"])
        assert seen["unloaded"] == ["Asked for over the API."]
        load = {"model": MARKUP, "wait": False}
        assert seen["sent"] == [
            ["?dry_run=1", {"model": "huge"}],
            ["?dry_run=1", {"model": MARKUP}],
            ["", load],
            ["", {**load, "pinned": True}],
            ["", {**load, "pinned": False}],
            ["", {"model": MARKUP, "force": False}],
        ]
        assert [served.model(name).state for name in sizes] == [State.UNLOADED] * 3


async def test_requests_are_cut_off_only_if_that_is_chosen(browser: str, tmp_path: Path) -> None:
    async with serving(config=config(tmp_path, fake("m", "--tokens", 1_000_000, "--tps", 20))) as served:
        seen = await driven(browser, served.client.port, "force")
        fine(seen)
        assert (seen["focused"], seen["asked"]) == ("Now", ["1 request is in flight or waiting."])
        assert len(seen["told"]) == 1
        assert served.model("m").state is State.UNLOADED


async def test_a_chat_two_texts_and_the_log(browser: str, tmp_path: Path) -> None:
    """The browser keeps nothing of it, and llmsup only what it was told to; a hidden tab asks nothing."""
    models = (fake("m", "--timings", capture=True), fake("e", kind="embedding"))
    async with serving(config=config(tmp_path, *models)) as served:
        seen = await driven(
            browser,
            served.client.port,
            "talk",
            model="m",
            embedder="e",
            tokens=5,
            name="talk",
            pictures=str(PICTURES),
        )
        fine(seen)
        assert seen["said"][0] == "Why is the sky blue?"
        assert seen["said"][1]
        assert "55.5 tokens/s" in seen["facts"][0]
        assert seen["turns"] == 4
        assert seen["requests"] == ["e", "m", "m"]
        assert "Why is the sky blue?" in seen["kept"][0]
        assert "token4" in seen["kept"][1]  # as it was streamed
        assert seen["happened"] == ["e", "m"]
        assert seen["alike"] == "Cosine 1.0000, of 2 dimensions"
        assert all("llmsup: starting" in line for line in seen["log"])
        assert len(seen["log"]) == 2
        assert seen["again"] == 1


async def test_a_key_is_asked_for(browser: str, tmp_path: Path) -> None:
    keys = {"laptop": KeySpec(name="laptop", hash=hash_of("little"), models=("m",))}
    open_ = evolve(config(tmp_path, fake("m"), fake("other"), api_keys=("right",)), keys=keys)
    async with serving(config=open_) as served:
        port = served.client.port
        seen = await driven(browser, port, "keys", key="right", limited="little", pictures=str(PICTURES))
        fine(seen)
        assert seen["bare"] == 0
        assert seen["told"][0] == "a key for models only"
        assert "The key laptop may not use the control API." in seen["told"][1]
        assert seen["catalog"] == ["m"]


async def test_a_pause_and_mistakes_in_the_config_are_told(browser: str, tmp_path: Path) -> None:
    """As long as they last, without anybody having to look again."""
    setting = Setting(tmp_path)
    setting.add("m")
    good = setting.file.read_text()
    bad = f"{good}[models.'{MARKUP}']\nkey = 1\n"
    async with setting.serving(watched=True) as served:
        assert (await served.client.chat("m")).status == 200
        more = {"file": str(setting.file), "good": good, "bad": bad, "pictures": str(PICTURES)}
        seen = await driven(browser, served.client.port, "notices", **more)
        fine(seen)
        assert seen["paused"] == ["llmsup is paused (llmsup pause). Resume"]
        assert seen["both"][0] == seen["paused"][0]
        assert seen["both"][1:] == seen["mistakes"]
        (mistake,) = seen["mistakes"]
        assert mistake.startswith(f"The config has changed, and is not applied: {setting.file}: 1 mistake.")
        assert mistake.endswith(f"""unknown key 'key' @ models."{MARKUP}\"""")
        assert (await served.client.chat("m")).status == 200


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
async def test_peers(browser: str, width: int, dark: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How each fares, on the first view; where models are, in the catalog; and what becomes of one, when it happens."""
    known = config(tmp_path, fake("m"), fake("shared", memory=Bytes(300 * MIB)))
    async with serving_with(monkeypatch, peers=several_peers(), config=known) as (served, peers):

        async def break_one() -> None:
            await served.until("m", lambda model: model.state is State.READY)
            studio = peers.all["studio"]
            studio.state, studio.reason = PeerState.DOWN, "it hung up"
            served.fleet.events.write("peer", peer="studio", before="up", state="down", reason="it hung up")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(break_one)
            more = {"width": width, "dark": dark, "peer": "studio", "signal": "m", "pictures": str(PICTURES)}
            seen = await driven(browser, served.client.port, "peers", **more)
        fine(seen)
        studio, box, laptop = seen["cards"]
        assert studio.startswith(
            "studio up llmsup 0.1.0 · https://studio.local:5005 Models 4 In flight 2 Latency 2.3 ms"
        )
        assert studio.endswith(
            "20.0 GiB of 96.0 GiB Loaded there: qwen3-32b (2 in flight). Loading: shared. It tells little."
        )
        assert box.startswith("box down openai · https://box.local:5005")
        assert "It refuses connections. It is asked again at " in box
        assert laptop.startswith("laptop asleep ollama")
        assert "Memory 3.0 GiB" in laptop
        assert seen["rest"] == ["m", "shared"]
        assert seen["notices"] == ["1 of 3 peers doesn't answer: `llmsup peers` tells more."]
        assert not seen["wide"]
        assert [(name, where, why) for name, where, _, why in seen["catalog"]] == [
            ("<b>small", "laptop", ""),
            ("llama-70b", "studio", ""),
            ("m", "a command", ""),
            ("only-on-box", "box (down)", "No peer that has it answers (box: it refuses connections)."),
            ("qwen3-32b", "studio", ""),
            ("shared", "a command, studio", ""),
            ("twice", "studio, box (down)", ""),
        ]
        assert seen["catalog"][0][2] == "chat · at laptop"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
async def test_where_requests_go(
    browser: str, width: int, dark: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = config(tmp_path, fake("m"), fake("shared", memory=Bytes(300 * MIB)))
    async with with_peers(monkeypatch, config=known, names="studio box") as (served, machines, look):
        studio, box = machines["studio"], machines["box"]
        offer: dict[str, Any] = {"loaded": True, "busy": 0, "slots": 4}
        studio.offers(Offer(name="shared", **offer), Offer(name=MARKUP, **offer))
        box.offers(Offer(name=MARKUP, loaded=False, load_seconds=42.0, fits=False))
        look()
        for name in ("shared", MARKUP, MARKUP):
            assert (await served.client.chat(name)).status == 200
        studio.peer.state, studio.peer.reason = PeerState.DOWN, "it hung up"
        assert (await served.client.chat("shared")).status == 200
        more = {"width": width, "dark": dark, "peer": "studio", "shared": "shared", "far": MARKUP}
        seen = await driven(browser, served.client.port, "routes", **more, pictures=str(PICTURES))
        fine(seen)
        assert not seen["wide"]
        head, here, there, _, *weighed = seen["here"]
        assert head == "Server Requests Now Why they went there"
        assert here.startswith("here 1 loaded, idle ")
        assert there.startswith("studio 1 down for ")
        assert there.endswith(" (it hung up) loaded and idle there; here it would have to be loaded")
        assert weighed == ["studio loaded, idle – –", "here to be loaded – –"]
        (line,) = seen["lines"]
        assert line.startswith("It has no engine here, and is served from elsewhere: studio (http://studio:")
        assert seen["far"][1].startswith("studio 2 down for ")
        assert seen["far"][2] == "box 0 to be loaded, which takes 42 s, and another model has to go for it –"
        assert seen["decisions"] == ["studio", "Loaded and idle there."] * 2
        assert (seen["expanded"], seen["kept"], seen["closed"]) == ("true", 1, ["false", 0])


async def test_without_javascript_without_a_history_and_from_elsewhere(browser: str, tmp_path: Path) -> None:
    bare = evolve(config(tmp_path, fake(MARKUP), fake("m")), history=History(keep=Seconds(0)))
    async with serving(config=bare) as served:
        await served.client.post("/models/load", model="m")
        seen = await driven(browser, served.client.port, "bare", model="m", pictures=str(PICTURES))
        fine(seen)
        assert seen["at"].endswith("/ui")
        assert seen["rows"] == [MARKUP, "m"]
        assert seen["calm"] == ["This server keeps no history: `[history] keep` is 0.", "No request has come yet."]
        assert seen["evil"] == [[False, False, False], None]
        assert served.model("m").state is State.READY


async def test_with_a_real_engine(browser: str, tmp_path: Path) -> None:
    """A chat, and what it takes of the memory."""
    spec = ModelSpec(name="smollm2", path=str(smollm2()), engine="bundled", ctx_size=512, parallel=1, threads=1)
    async with serving(config=config(tmp_path, spec)) as served:
        seen = await driven(
            browser, served.client.port, "talk", model="smollm2", tokens=12, name="real", pictures=str(PICTURES)
        )
        fine(seen)
        assert len(seen["said"]) == 2
        assert seen["said"][1]
        assert "tokens/s" in seen["facts"][0]
        assert "smollm2" in seen["bar"]
        assert (seen["requests"], seen["happened"]) == (["smollm2", "smollm2"], ["smollm2"])


@pytest.mark.real
async def test_what_is_on_a_worker_is_not_this_machines_memory(browser: str, tmp_path: Path) -> None:
    """A worker that counts as full, whatever it has, doesn't fill the bar."""
    there = rpc_setting.model("there", "box")
    async with rpc_setting.open_worker() as (address, _):
        box = RpcSpec(name="box", url=address, memory=Bytes(1 << 50))
        async with rpc_setting.llmsup(there, workers=(box,), server=Server(state_dir=tmp_path)) as served:
            seen = await driven(
                browser, served.client.port, "talk", model="there", tokens=4, name="worker", pictures=str(PICTURES)
            )
            (loaded,) = (await served.client.get("/memory")).json["models"]
    fine(seen)
    assert "there" in seen["bar"]
    assert "TiB" not in seen["bar"]
    ((shown, unit),) = re.findall(r"there ([\d.]+) (MiB|GiB)", seen["bar"])
    there_only = sum(loaded["devices"].values())
    assert 0 < float(shown) * {"MiB": MIB, "GiB": 1024 * MIB}[unit] < loaded["footprint_bytes"] - there_only / 2
