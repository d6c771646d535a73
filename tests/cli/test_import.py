"""`llmsup import`: llama-swap's keys become llmsup's, and what has no counterpart is named."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from configs import parse
from hypothesis import given
from hypothesis import strategies as st
from real_engines import llama_server, smollm2
from serving import serving

from llmsup.cli import main
from llmsup.cli.importing import convert
from llmsup.cli.importing.command import read_flags, split
from llmsup.cli.importing.reading import LARGEST, read
from llmsup.cli.importing.values import duration
from llmsup.errors import ConfigError
from llmsup.units import NEVER, parse_seconds

DATA = Path(__file__).parents[1] / "data"
GUIDE = (DATA / "llama_swap_guide.yaml").read_bytes()
ALL = (DATA / "llama_swap_all.yaml").read_bytes()
ENVIRON = {"SWAP_KEY": "sk-second", "HF_TOKEN": "hf", "HOME": "/root"}


def imported(data: bytes | str) -> tuple[Any, tuple[str, ...], str]:
    """The config that llmsup reads from the result, the notes, and the text."""
    result = convert(data.encode() if isinstance(data, str) else data, "c.yaml")
    return parse(result.text, "c.toml", ENVIRON), result.notes, result.text


def one(cmd: str, *, name: str = "m", **keys: Any) -> tuple[Any, tuple[str, ...]]:
    """One model, imported, and what is noted of it."""
    config, notes, _ = imported(yaml.safe_dump({"models": {name: {"cmd": cmd, **keys}}}))
    return config.models.get(name), tuple(note for note in notes if note.startswith("models."))


def run(*words: str, **options: Any) -> Result:
    return CliRunner().invoke(main, ["import", *words], **options)


# --- whole files ------------------------------------------------------------------------------------------


def test_the_guides_example() -> None:
    """The file that most people begin with, down to the old spellings in it."""
    config, notes, text = imported(GUIDE)
    assert config.server.listen == "0.0.0.0:5005"
    gpt, qwen = config.models["gpt-oss-20b"], config.models["qwen3-4b"]
    assert (gpt.path, gpt.ttl, gpt.args, dict(gpt.sampling)) == (
        "/path/gpt-oss-20b-Derestricted-MXFP4.gguf", 1800, (), {}
    )  # fmt: skip
    assert qwen.path == "/path/qwen3-4b-*.gguf"
    assert 'ttl = "30m"' in text
    assert tomllib.loads(text)["models"]["qwen3-4b"]["sampling"] == {
        "top_n_sigma": 1.5, "top_k": 0, "top_p": 0.95, "min_p": 0.05, "temperature": 1.0, "typical_p": 1.0
    }  # fmt: skip
    assert notes == ("listen: open to the network, and there are no apiKeys.",)
    assert "# This is open to the whole network, and api_keys is empty" in text


def test_every_key() -> None:
    """Each one's counterpart."""
    config, _, _ = imported(ALL)
    assert config.server.api_keys == ("sk-first", "sk-second")
    defaults = config.defaults
    assert (defaults.ttl, defaults.start_timeout, defaults.stop_grace) == (600, 90, 20)
    assert config.engines["llama-server"].command == ("/opt/llama/bin/llama-server",)
    small = config.models["small"]
    assert small.path == "/srv/models/small.gguf"
    assert small.aliases == ("gpt-4o-mini", "3.10", "small-1")
    assert small.description == "Small One: for quick answers"
    assert (small.unlisted, small.upstream_model, small.ttl, small.pinned) == (True, "upstream-small", NEVER, True)
    assert (small.stop_grace, small.start_timeout, small.max_in_flight) == (60, 300, 4)
    assert (small.ctx_size, small.parallel, small.n_gpu_layers, small.threads) == (8192, 2, 99, 6)
    assert small.cache_ram == 512 << 20
    assert small.args == ("-fa", "on", "--jinja", "--no-mmap", "--draft-max", "8", "-ctk", "q8_0")
    assert small.env == {"CUDA_VISIBLE_DEVICES": "0", "TOKEN": "hf"}
    assert small.sampling == {
        "temperature": 0.7, "samplers": ["top_k", "temperature"], "seed": 42, "dry_sequence_breakers": ["a b"],
        "chat_template_kwargs": {"enable_thinking": False},
    }  # fmt: skip
    assert small.presets == {"hot": {"temperature": 1.5, "top_k": 0}}
    assert small.request.strip == ("temperature", "top_p")
    assert small.request.set == {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": True}}
    embed = config.models["embed"]
    assert (embed.kind, embed.preload, embed.priority, embed.pinned) == ("embedding", True, "high", False)
    assert (embed.ttl, embed.ctx_size, embed.aliases) == (600, 0, ("tiny",))
    assert embed.args == ("-fa", "on", "--pooling", "mean", "-ngl", "-1")
    assert (config.models["rerank"].kind, config.models["rerank"].ttl) == ("rerank", 5400)
    assert config.models["older"].command == (
        "/opt/old/llama-server",
        "-m",
        "/srv/models/older.gguf",
        "--port",
        "${PORT}",
    )
    assert config.models["vllm"].command[-4:] == ("${PORT}:8000", "vllm/vllm-openai", "--model", "Qwen/Qwen3-4B")
    assert config.models["vllm"].health == "/ping"
    assert config.models["whisper"].command[:3] == ("whisper-server", "--port", "${PORT}")
    assert config.models["whisper"].health == ""
    assert set(config.models) == {"small", "embed", "rerank", "older", "vllm", "whisper"}


def test_everything_else_is_named_in_the_text_and_in_the_notes() -> None:
    """No key of the file goes unmentioned, and no key of an engine's is shown."""
    _, notes, text = imported(ALL)
    said = " ".join(text.replace("\n#", " ").split())
    keys = "logLevel logTimeFormat logToStdout logRequests metricsMaxInMemory captureBuffer store ui performance"
    keys += " startPort sendLoadingState includeAliasesInList upstream profiles selectors peers groups matrix surprise"
    for key in keys.split():
        assert f"- {key}: " in said
        assert any(note.startswith(f"{key}: ") for note in notes)
    of_small = ["metadata", "timeouts", "sendLoadingState", "oddity", "env", "cmd's --api-key", "filters.surprise"]
    of_small += ["setParams.nothing", "setParamsByID.small:deep", "setParamsByID.other"]
    for place in (f"filters.{key}" if key.startswith("setP") else key for key in of_small):
        assert f"# {place}: " in text
        assert any(note.startswith(f"models.small.{place}: ") for note in notes)
    for name in ("fetched", "remote", "lost", "typo", "quoted", "empty", "wrong"):
        assert any(note.startswith(f"models.{name}: ") for note in notes)
    assert "# [models.fetched]\n" in text
    assert "sk-engine" not in text + "".join(notes)


def test_one_llama_server_for_all_is_the_engine_and_the_odd_one_keeps_its_command() -> None:
    """The one that most models use; no table is needed for the one on PATH."""
    models = {
        name: {"cmd": f"{program} -m /x.gguf"}
        for name, program in zip("abc", ("llama-server",) * 2 + ("/o/llama-server",), strict=True)
    }
    config, _, text = imported(yaml.safe_dump({"models": models}))
    assert config.engines == {}
    assert config.models["a"].path == "/x.gguf"
    assert config.models["c"].command == ("/o/llama-server", "-m", "/x.gguf", "--port", "${PORT}")
    assert "keeps its command" in text


def test_nothing_in_it() -> None:
    """That is told, and gives an empty config."""
    config, notes, _ = imported("models: {}")
    assert config.models == {}
    assert notes == ("models: there are none.",)


def test_idle_models_stay_as_they_did() -> None:
    """Without a globalTTL llama-swap unloads none; llmsup's own default would."""
    assert imported("models: {m: {cmd: llama-server -m x}}")[0].models["m"].ttl == NEVER
    assert "ttl" not in imported("models: {m: {cmd: llama-server -m x, ttl: 60}}")[2].partition("[models.m]")[0]
    assert imported("globalTTL: 90\nmodels: {m: {cmd: llama-server -m x, ttl: -1}}")[0].models["m"].ttl == 90


# --- one model --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cmd", "words"),
    [
        ("a b\n# c\n  # d\ne", ["a", "b", "e"]),
        ("a \\\n  b \\  \n c", ["a", "b", "c"]),
        ("""a "b c" 'd "e"' f\\ g x#y""", ["a", "b c", 'd "e"', "f g", "x#y"]),
    ],
)
def test_commands_are_split_as_llama_swap_does(cmd: str, words: list[str]) -> None:
    """No shell: comments are whole lines."""
    assert split(cmd) == tuple(words)


@pytest.mark.parametrize(
    ("flags", "keys", "sampling", "args"),
    [
        ("-c 4096 -np 4 -t 8 -ngl all", {"ctx_size": 4096, "parallel": 4, "threads": 8, "n_gpu_layers": 999}, {}, ""),
        ("-c 0 -np -1 -t -1 -ngl auto -n -1", {}, {}, ""),
        ("-np 0 -ngl -1 -c lots --cache-ram -1", {}, {}, "-np 0 -ngl -1 -c lots --cache-ram -1"),
        ("--rerank --offline --no-webui --reuse-port", {"kind": "rerank"}, {}, ""),
        ("-n 64 -l 1+2 -r END", {}, {}, "-n 64 -l 1+2 -r END"),
        (
            "--typ 0.9 --mirostat-tau 5 --top_nsigma 1",
            {},
            {"typical_p": 0.9, "mirostat_tau": 5.0, "top_n_sigma": 1.0},
            "",
        ),
        (
            "--ignore-eos --no-cache-prompt -bs",
            {},
            {"ignore_eos": True, "cache_prompt": False, "backend_sampling": True},
            "",
        ),
        ("--sampling-seq kt --repeat-last-n -1", {}, {"samplers": ["top_k", "temperature"], "repeat_last_n": -1}, ""),
        ("--top-p 7 --min-p --jinja", {}, {}, "--top-p 7 --min-p --jinja"),
        ('--json-schema {"a":null} --temp', {}, {}, '--json-schema {"a":null} --temp'),
        ("--temp=0.5 -fa --mlock", {}, {"temperature": 0.5}, "-fa --mlock"),
    ],
)
def test_a_llama_servers_flags(flags: str, keys: dict[str, Any], sampling: dict[str, Any], args: str) -> None:
    """Those with a key of their own, sampling, and the rest, which stay flags."""
    read_ = read_flags(tuple(flags.split()))
    assert (read_.keys, read_.sampling, " ".join(read_.args)) == (keys, sampling, args)


def test_macros_within_macros_and_the_models_own() -> None:
    """The model's own win, also within the file's."""
    macros = {"base": "llama-server --port ${PORT}", "ctx": 1, "full": "${base} -c ${ctx}"}
    model = {"macros": {"ctx": 7}, "cmd": "${full} -m /${MODEL_ID}/${env.HF_TOKEN}.gguf"}
    config, _, _ = imported(yaml.safe_dump({"macros": macros, "models": {"a/b:c": model}}))
    assert (config.models["a/b:c"].ctx_size, config.models["a/b:c"].path) == (7, "/a/b:c/hf.gguf")


@pytest.mark.parametrize(
    ("keys", "note"),
    [
        ({"cmd": "x ${nope} ${PORT}"}, r"not served, as its cmd can't be read: ${nope} is not a macro of this file."),
        ({"cmd": "x ${a}", "macros": {"a": "${b}", "b": "${a}"}}, "its macros are circular"),
        ({"cmd": "x ${a}", "macros": {"a": "${b}${b}", "b": "${a}${a}"}}, "its macros make it too long"),
        ({"cmd": "# only"}, "its cmd is only comments"),
        ({"cmd": "llama-server -hf a/b"}, "it names no file, only --hf-repo a/b"),
        ({"cmd": "x ${PORT}", "proxy": "https://example.com"}, "llmsup serves only what it starts"),
        ({"cmd": "x ${PORT}", "checkEndpoint": "no path"}, "is not a path"),
        ({"cmd": "x ${PORT}", "aliases": ["a\x01"]}, "holds control characters"),
    ],
)
def test_a_model_that_can_not_be_served_is_a_comment(keys: dict[str, Any], note: str) -> None:
    """The rest of the file is not held up by it."""
    data = yaml.safe_dump({"models": {"m": keys, "fine": {"cmd": "y --port ${PORT}"}}})
    config, notes, text = imported(data)
    assert set(config.models) == {"fine"}
    assert any(note in each for each in notes), notes
    assert "# Not served, as " in text


def test_a_fixed_port_becomes_a_placeholder() -> None:
    """Only where it is certain which word is the port."""
    assert one("x --port=9001", proxy="http://localhost:9001")[0].command == ("x", "--port=${PORT}")
    assert one("x 9001 9001", proxy="http://localhost:9001")[0] is None
    assert one("x 19001", proxy="http://localhost:9001")[0] is None


def test_keys_that_are_nonsense_do_no_harm() -> None:
    """Whatever kind of value stands where another is wanted."""
    nonsense: list[Any] = [None, 1, -1.5, True, "x", [], [None, {}], {}, {"a": [1]}, {"on_startup": 3}]
    for key in ("ttl", "aliases", "env", "filters", "macros", "name", "concurrencyLimit", "checkEndpoint", "proxy"):
        for value in nonsense:
            imported(yaml.safe_dump({key: value, "models": {"m": {"cmd": "llama-server -m x", key: value}}}))
    for key in ("apiKeys", "hooks", "groups", "routing", "globalTTL", "healthCheckTimeout", "listen", "models"):
        for value in (*nonsense, {"g": {"persistent": True, "members": 3}}):
            imported(yaml.safe_dump({"models": {}, key: value}))


@pytest.mark.slow
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=8),
        st.fixed_dictionaries(
            {"cmd": st.text(st.characters(codec="utf-8"))},
            optional={
                "aliases": st.lists(st.text(st.characters(codec="utf-8"), max_size=5)),
                "env": st.lists(st.text(st.characters(codec="utf-8"))),
                "name": st.text(st.characters(codec="utf-8")),
                "ttl": st.integers() | st.floats(),
            },
        ),
        max_size=3,
    )
)
def test_whatever_stands_in_it_the_result_is_accepted(models: dict[str, Any]) -> None:
    """Any names, commands and texts."""
    models = {name: {**spec, "cmd": f"{spec['cmd']} ${{PORT}}"} for name, spec in models.items()}
    imported(yaml.safe_dump({"models": models}))


@given(st.integers(1, 10**6))
def test_durations_mean_the_same(seconds: int) -> None:
    """However they are written."""
    assert float(parse_seconds(str(duration(seconds)))) == seconds


# --- YAML -------------------------------------------------------------------------------------------------

_LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("models: [", r"not valid YAML: expected the node content.* @ c.yaml:1:10"),
        ("a: 1\nb:\n  c: 1\n  c: 2", r"the key 'c' is given twice @ c.yaml:4:3"),
        ("a: *b", r"undefined alias 'b' @ c.yaml:1:4"),
        ("a: &a [*a]", r"recursive node @ c.yaml:1:4"),
        ("a: !!python/object/apply:os.system [x]", r"could not determine a constructor.* @ c.yaml:1:4"),
        ("? [1]\n: 2", r"a key must be one word @ c.yaml:1:3"),
        ("- 1", r"expected a table with 'models', got a list"),
        ("", r"got nothing"),
        (_LAUGHS, r"its anchors repeat too much"),
        ("a: " + "[" * 2000, r"nested too deeply"),
        ("a: " + "[" * 60 + "]" * 60, r"nested too deeply"),
        ("a: \x01", r"not valid YAML"),
        ('a: "\\ud800"', r"surrogates not allowed"),
        (" " * (LARGEST + 1), r"larger than 512 KiB"),
    ],
)
def test_yaml_that_can_not_be_read(text: str, mistake: str) -> None:
    """Where it stands is told, and nothing in it is run, however it is meant."""
    with pytest.raises(ConfigError) as caught:
        read(text.encode(), "c.yaml")
    assert len(caught.value.mistakes) == 1
    assert re.search(mistake, caught.value.mistakes[0]), caught.value.mistakes


@pytest.mark.slow  # shlex reads two million characters, one by one
def test_macros_that_grow_beyond_bounds() -> None:
    """A large one in every model is a mistake, not a gigabyte."""
    models = "".join(f"  m{n}: {{cmd: '${{a}}'}}\n" for n in range(200))
    with pytest.raises(ConfigError) as caught:
        convert(f"macros: {{a: '{'x' * 30000}'}}\nmodels:\n{models}".encode(), "c.yaml")
    assert caught.value.mistakes == ("its macros repeat too much @ c.yaml",)


def test_yaml_is_read_as_llama_swap_does() -> None:
    """`on` is a word, 1:30 no number, a date a string, and a key what stands there."""
    text = "a: on\nb: 1:30\nc: 2024-01-01\n3.10: 0x10\nd: {<<: &x {e: 1, f: 2}, f: 3}\ng: .5\ni: ~\n"
    text += "h: 99999999999999999999"
    assert read(text.encode(), "c.yaml") == {
        "a": "on", "b": "1:30", "c": "2024-01-01", "3.10": 16, "d": {"e": 1, "f": 3}, "g": 0.5,
        "h": "99999999999999999999", "i": None,
    }  # fmt: skip


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_prints_the_config_and_notes_beside_it() -> None:
    """So that the output can be redirected into a file."""
    result = run(str(DATA / "llama_swap_guide.yaml"))
    assert result.exit_code == 0
    assert set(parse(result.stdout, "x").models) == {"gpt-oss-20b", "qwen3-4b"}
    assert result.stderr == "llama_swap_guide.yaml: listen: open to the network, and there are no apiKeys.\n"


def test_the_command_reads_a_pipe() -> None:
    """As `-`, like other programs."""
    result = run("-", input=GUIDE)
    assert result.exit_code == 0
    assert "# Imported from standard input," in result.stdout
    assert result.stderr.startswith("standard input: listen: ")


def test_the_command_writes_a_file_once(tmp_path: Path) -> None:
    """A file with keys is for its owner only, and none is overwritten unasked."""
    target, source = tmp_path / "new" / "l.toml", str(DATA / "llama_swap_all.yaml")
    result = run(source, "--output", str(target))
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"llmsup check --config {target}" in result.stderr
    assert target.stat().st_mode & 0o777 == 0o600
    again = run(source, "--output", str(target))
    assert (again.exit_code, again.stderr.splitlines()[-1][:20]) == (1, f"llmsup: {target}"[:20])
    assert run(source, "--output", str(target), "--force").exit_code == 0


def test_the_command_on_what_it_can_not_read(tmp_path: Path) -> None:
    """Exit code 2, and what is wrong; the file that is imported is never written to."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("models: [")
    result = run(str(bad))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "@ bad.yaml:1:10" in result.stderr
    assert run(str(tmp_path / "none.yaml")).exit_code == 2
    bad.write_text("models: {}")
    assert run(str(bad), "--output", str(bad), "--force").exit_code == 1
    assert bad.read_text() == "models: {}"


# --- the real engine --------------------------------------------------------------------------------------


async def test_the_guides_example_serves(tmp_path: Path) -> None:
    """Imported, its models answer, and the engine samples as the old file said."""
    for name in ("gpt-oss-20b-Derestricted-MXFP4.gguf", "qwen3-4b-it.gguf"):
        (tmp_path / name).symlink_to(smollm2())
    text = GUIDE.decode().replace("/path/", f"{tmp_path}/").replace("llama-server --host", f"{llama_server()} --host")
    config, _, _ = imported(text.replace("0.0.0.0", "127.0.0.1").replace("--typ-p 1.0", "--typ-p 1.0 -c 512 -np 1 -fa"))
    async with serving(config=config) as served:
        got = await served.client.chat("qwen3-4b", max_tokens=4)
        assert got.status == 200, got.body
        props = (await served.client.get("/upstream/qwen3-4b/props")).json["default_generation_settings"]["params"]
        assert props["top_n_sigma"] == pytest.approx(1.5)
        assert (props["top_k"], props["typical_p"], props["temperature"]) == (0, 1.0, 1.0)
        assert (props["top_p"], props["min_p"]) == (pytest.approx(0.95), pytest.approx(0.05))


KEYS = ", ".join(f"k{number}: 1" for number in range(1000))


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (f"a: &a {{{KEYS}}}\nmodels:\n  <<: [{', '.join(['*a'] * 20_000)}]\n", "too much is merged here"),
        (f"a: &a {{{KEYS}}}\nb: {{<<: [&b {{<<: *a}}{', *b' * 3000}]}}\n", "too much is merged here"),
        (f"s: &s [{', '.join(['x'] * 5000)}]\nm: [{', '.join(['{aliases: *s}'] * 2000)}]\n", "too much is merged here"),
        (f"a: &a {{}}\nb: {{{', '.join(['<<: *a'] * 1000)}}}\n", "the key '<<' is given twice"),
    ],
    ids=["many", "merged in place", "aliases", "many times"],
)
def test_merging_is_bounded(text: str, mistake: str) -> None:
    """What is small on the page must not be minutes of work."""
    with pytest.raises(ConfigError) as caught:
        read(text.encode(), "x.yaml")
    assert mistake in caught.value.mistakes[0]


def test_a_models_environment_is_kept_to_oneself(tmp_path: Path) -> None:
    """It may hold a token: the file is its owner's alone, and what is left out of it is not repeated."""
    source, target = tmp_path / "c.yaml", tmp_path / "l.toml"
    source.write_text("models:\n  a:\n    cmd: srv --port ${PORT}\n    env: [HF_TOKEN=hunter2, 'hunter3']\n")
    result = CliRunner().invoke(main, ["import", str(source), "--output", str(target)])
    assert result.exit_code == 0, result.output
    assert target.stat().st_mode & 0o777 == 0o600
    assert "hunter2" in target.read_text()
    assert "hunter3" not in target.read_text() + result.output
    assert "entry 2 is left out" in result.stderr
