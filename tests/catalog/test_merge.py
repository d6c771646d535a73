"""The config's tables and the files that were found, put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, fields
from configs import parse
from engine_kinds import kinds

from llmsup.catalog.entry import AT_LAUNCH, Entry
from llmsup.catalog.found import Found, LeftOut, Snapshot, Stamp
from llmsup.catalog.gguf.facts import Facts
from llmsup.catalog.merge import Disk, entries
from llmsup.catalog.resolver import Called, Names
from llmsup.config.schema import ModelSpec
from llmsup.units import Bytes, Seconds

CHAT = Facts(architecture="llama", kind="chat", context_length=4096, weights=Bytes(100))
EMBED = Facts(architecture="bert", kind="embedding", pooling="cls")


def found(root: Path, id_: str, facts: Facts = CHAT, **more: Any) -> Found:
    path = root / "pub" / f"{id_.replace('/', '_').replace(':', '_')}.gguf"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    return Found(id=id_, path=path, files=(Stamp(path.resolve(), 1, 1),), facts=facts, **more)


def serve(root: Path, text: str, *models: Found, ollama_server: bool = False, **more: Any) -> dict[str, Entry]:
    config = parse(f"catalog.roots = [{str(root)!r}]\n{text}", "test.toml", {})
    snapshot = Snapshot(models={model.id: model for model in models}, **more)
    return entries(
        config, Disk(snapshot=snapshot, engines=kinds(ollama=Path("/o/llama-server") if ollama_server else None))
    )


def test_with_nothing_written_down_everything_is_served(tmp_path: Path) -> None:
    """Under its id, with [defaults] and what the header says."""
    served = serve(
        tmp_path,
        "[defaults]\nttl = '1h'\nctx_size = 2048\npreload = true",
        found(tmp_path, "z/chat", names=("chat", "chat-Q4")),
        found(tmp_path, "a/embed", EMBED),
    )
    assert list(served) == ["a/embed", "z/chat"]
    assert served["a/embed"].spec.kind == "embedding"
    spec = served["z/chat"].spec
    assert spec.kind == "chat"
    assert spec.ttl == Seconds(3600)
    assert spec.ctx_size == 2048
    assert spec.path == f"{tmp_path}/pub/z_chat.gguf"
    assert not spec.preload, "[defaults] preload must not load a whole folder"


def test_the_names_of_a_file(tmp_path: Path) -> None:
    """They are its own, until a table takes the file."""
    model = found(tmp_path, "pub/m", names=("m", "m-Q4"))
    assert serve(tmp_path, "", model)["pub/m"].also == {"m": "", "m-Q4": ""}
    served = serve(tmp_path, "[models.mine]\npath = 'pub/*.gguf'\nkind = 'embedding'", model)
    assert list(served) == ["mine"]
    assert served["mine"].also == {"pub/m": "", "m": "", "m-Q4": ""}
    assert served["mine"].spec.kind == "embedding", "the config's kind wins"
    assert served["mine"].found is not None
    assert served["mine"].spec.path == str(model.path)


def test_two_tables_for_one_file(tmp_path: Path) -> None:
    """Both are models; the file's own names go to the first."""
    model = found(tmp_path, "pub/m", names=("m",))
    served = serve(tmp_path, "[models.a]\npath = 'pub/pub_m.gguf'\n[models.b]\npath = 'pub/pub_m.gguf'", model)
    assert [(name, entry.also) for name, entry in served.items()] == [("a", {"pub/m": "", "m": ""}), ("b", {})]


def test_a_table_may_be_about_a_model_by_its_name(tmp_path: Path) -> None:
    """So that one of Ollama's, which has no path to write down, can have settings."""
    model = found(tmp_path, "llama3.1:8b", names=("llama3.1",), source="ollama", ollama={"llama3.1:8b": {}})
    served = serve(tmp_path, "[models.'llama3.1:8b']\nttl = 'never'\n[models.LLAMA]", model)
    assert served["llama3.1:8b"].found == model
    assert served["llama3.1:8b"].also == {"llama3.1": ""}
    assert served["LLAMA"].found is None
    assert "The nearest names: 'llama3.1'" in served["LLAMA"].refusal
    assert list(serve(tmp_path, "[models.'LLAMA3.1']", model)) == ["LLAMA3.1"]


def test_only_what_is_written_down(tmp_path: Path) -> None:
    """serve_all = false."""
    models = (found(tmp_path, "a"), found(tmp_path, "b"))
    assert list(serve(tmp_path, "catalog.serve_all = false\n[models.a]", *models)) == ["a"]


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_tables_name_wins_over_a_files(tmp_path: Path, name: str) -> None:
    """One that is written down is what it says, whatever lies on the disk."""
    served = serve(tmp_path, f"[models.x]\ncommand = 'srv ${{PORT}}'\naliases = ['{name}']", found(tmp_path, name))
    assert named(served).resolve(name).id == "x"
    assert list(serve(tmp_path, f"[models.{name}]\ncommand = 'srv ${{PORT}}'", found(tmp_path, name))) == [name]


def test_sampling_has_an_order(tmp_path: Path) -> None:
    """[defaults], then Ollama's parameters, then the model's own table."""
    model = found(tmp_path, "m", ollama={"m:latest": {"temperature": 0.2, "top_k": 5, "min_p": 0.1}}, ctx_size=8192)
    text = "[defaults.sampling]\ntemperature = 1.0\nseed = 4\n[models.m.sampling]\ntop_k = 9"
    spec = serve(tmp_path, text, model)["m"].spec
    assert spec.sampling == {"temperature": 0.2, "seed": 4, "min_p": 0.1, "top_k": 9}
    assert spec.ctx_size == 8192
    assert serve(tmp_path, "[models.m]\nctx_size = 4096", model)["m"].spec.ctx_size == 4096
    assert serve(tmp_path, "[defaults]\nctx_size = 4096", model)["m"].spec.ctx_size == 8192


def test_a_table_that_says_the_same_as_defaults_still_wins(tmp_path: Path) -> None:
    """What counts is that it is written there."""
    model = found(tmp_path, "m", ollama={"m:latest": {"temperature": 0.2}}, ctx_size=8192)
    same = "ctx_size = 2048\nsampling.temperature = 0.9\n"
    text = f"[defaults]\n{same}[models.m]\n{same}"
    spec = serve(tmp_path, text, model)["m"].spec
    assert (spec.sampling, spec.ctx_size) == ({"temperature": 0.9}, 2048)


def named(served: dict[str, Entry]) -> Names:
    return Names({n: Called(e.spec.aliases, e.spec.presets, e.also, e.preset) for n, e in served.items()})


def test_ollamas_names_with_parameters_of_their_own(tmp_path: Path) -> None:
    """They are one file, loaded once; each name keeps its sampling, and takes over none of another's."""
    model = found(
        tmp_path,
        "llama3.1:8b",
        names=("llama3.1:latest", "llama3.1", "cold:latest", "cold", "registry.ollama.ai/library/cold:latest"),
        ollama={"llama3.1:8b": {"top_k": 7}, "llama3.1:latest": {}, "cold:latest": {"temperature": 0}},
    )
    (entry,) = serve(tmp_path, "", model).values()
    assert entry.spec.sampling == {}
    assert entry.spec.presets == {"llama3.1:8b": {"top_k": 7}, "cold:latest": {"temperature": 0}}
    names = named(serve(tmp_path, "", model))
    assert names.resolve("llama3.1:8b").preset == "llama3.1:8b"
    for name in ("llama3.1", "llama3.1:latest"):
        assert names.resolve(name).preset == ""
    for name in ("cold", "cold:latest", "registry.ollama.ai/library/cold:latest"):
        assert names.resolve(name).preset == "cold:latest"
    mine = serve(tmp_path, "[models.'llama3.1:8b'.sampling]\ntop_k = 9", model)["llama3.1:8b"].spec
    assert mine.sampling == {"top_k": 9}
    assert mine.presets == {"cold:latest": {"temperature": 0}}, "the table's own sampling must win"


def test_who_has_one_engine_for_all_still_gets_ollamas_where_only_that_will_do(tmp_path: Path) -> None:
    """Unless the model's own table chose the engine."""
    model = found(tmp_path, "m", ollama_only="it is old")
    everyone = "[defaults]\nengine = 'llama-server'\n"
    assert "only Ollama's own" in serve(tmp_path, everyone, model)["m"].refusal
    served = serve(tmp_path, everyone, model, ollama_server=True)["m"]
    assert (served.spec.engine, served.refusal) == ("auto", "")
    chosen = serve(tmp_path, f"{everyone}[models.m]\nengine = 'llama-server'", model)["m"]
    assert (chosen.spec.engine, chosen.refusal) == ("llama-server", "")


@pytest.mark.parametrize(
    ("text", "facts", "more", "why"),
    [
        ("", CHAT, {"problem": "part 2 of 3 is missing"}, "m.gguf: part 2 of 3 is missing."),
        ("", CHAT, {"ollama_only": "its name is gptoss"}, "only Ollama's own llama-server can run it"),
        ("[models.m]\nengine = 'bundled'", CHAT, {"ollama_only": "its name is gptoss"}, ""),
        ("", Facts(architecture="flux"), {}, "the architecture 'flux', which is neither for chat"),
        ("[models.m]\nkind = 'chat'", Facts(architecture="flux"), {}, ""),
        ("", CHAT, {}, ""),
    ],
)
def test_what_cannot_be_served(tmp_path: Path, text: str, facts: Facts, more: dict[str, Any], why: str) -> None:
    """It is there, and says why it can't be; the config may know better."""
    refusal = serve(tmp_path, text, found(tmp_path, "m", facts, **more))["m"].refusal
    assert (why in refusal) if why else not refusal


def test_ollamas_own_llama_server_will_do(tmp_path: Path) -> None:
    """Where it is installed."""
    model = found(tmp_path, "m", ollama_only="it is old")
    assert not serve(tmp_path, "", model, ollama_server=True)["m"].refusal


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    """A model whose file is missing, left out or several is listed all the same, with the reason."""
    adapter = tmp_path / "pub" / "lora.gguf"
    model = found(tmp_path, "m")
    other = found(tmp_path, "n")
    adapter.write_bytes(b"")
    text = (
        "[models.gone]\npath = 'no/file.gguf'\n[models.several]\npath = 'pub/?.gguf'\n"
        "[models.lora]\npath = 'pub/lora.gguf'\n[models.own]\npath = '/dev'\ncommand = 'x ${PATH} ${PORT}'"
    )
    served = serve(tmp_path, text, model, other, left_out=(LeftOut(adapter, "a LoRA adapter"),))
    assert f"matches no file. Looked in {tmp_path}." in served["gone"].refusal
    assert "matches 2 models" in served["several"].refusal
    assert served["lora"].refusal == f"{adapter} can't be used: a LoRA adapter."
    assert served["own"].refusal == ""


def test_while_files_are_still_read(tmp_path: Path) -> None:
    """A table whose file isn't known yet is not there yet: its kind would change under its first request."""
    model = found(tmp_path, "m")
    assert serve(tmp_path, "[models.x]\npath = 'pub/m.gguf'", complete=False) == {}
    assert serve(tmp_path, "[models.m]", complete=False) == {}
    assert list(serve(tmp_path, "[models.x]\npath = 'pub/m.gguf'", model, complete=False)) == ["x"]


def test_another_llama_server_is_another_engine(tmp_path: Path) -> None:
    """Also for who leaves the choice of the engine to us."""
    model = found(tmp_path, "m")
    old, new = (
        serve(tmp_path, f"[engines.llama-server]\ncommand = '/opt/{build}/llama-server'", model)["m"]
        for build in ("old", "new")
    )
    assert not old.runs_like(new)


def test_what_an_engine_sees(tmp_path: Path) -> None:
    """Another file state, projector or flag makes another engine; another ttl or name doesn't."""
    model = found(tmp_path, "m")
    entry = serve(tmp_path, "", model)["m"]
    assert entry.runs_like(serve(tmp_path, "[models.m]\nttl = 5\naliases = ['x']\npriority = 'low'", model)["m"])
    assert not entry.runs_like(serve(tmp_path, "[models.m]\nargs = ['--x']", model)["m"])
    assert not entry.runs_like(serve(tmp_path, "", found(tmp_path, "m", projector=Path("/p")))["m"])
    newer = Found(id="m", path=model.path, files=(Stamp(model.files[0].path, 1, 2),), facts=CHAT)
    assert not entry.runs_like(serve(tmp_path, "", newer)["m"])
    stamp = evolve(model.files[0], node=(1, 2))
    here, moved, copy = (
        serve(tmp_path, "", evolve(model, files=(each,)))["m"]
        for each in (stamp, evolve(stamp, path=Path("/else")), evolve(stamp, path=Path("/else"), node=(1, 3)))
    )
    assert here.runs_like(moved), "it has another name, and is the same file"
    assert not here.runs_like(copy)
    one, other = (f"[models.m]\nengine = 'e'\n[engines.e]\ncommand = 'e {n} ${{PORT}}'" for n in (1, 2))
    assert not serve(tmp_path, one, model)["m"].runs_like(serve(tmp_path, other, model)["m"])


def test_every_setting_is_said_to_end_an_engine_or_not() -> None:
    """A new one isn't forgotten: if an engine is started with it, it belongs into `AT_LAUNCH`, and else here."""
    while_it_runs = frozenset(
        (
            *("ttl", "max_ttl", "pinned", "preload", "priority", "memory", "max_in_flight", "request", "presets"),
            *(
                "queue_timeout",
                "drain_timeout",
                "stop_grace",
                "start_timeout",
                "stall_timeout",
                "hang_timeout",
                "sleep",
            ),
            *("capture", "idle_paths", "upstream_model", "name", "aliases", "description", "unlisted", "path", "given"),
            "rpc",  # does end an engine, but isn't in that list, so that earlier measurements count (`Entry._around`)
        )
    )
    assert {each.name for each in fields(ModelSpec)} == while_it_runs | {*AT_LAUNCH}
    assert not while_it_runs & {*AT_LAUNCH}
