"""The config: what is read, what is refused, and that every mistake is told at once."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from configs import load, parse

from llmsup.config import Bridge, Catalog, Config, Memory, Server, Settings, find, parse_listen
from llmsup.config.schema import EngineSpec, History, KeySpec, PeerSpec, PromptCacheSpec, RpcSpec
from llmsup.errors import ConfigError, SetupError
from llmsup.units import Seconds

DEFAULT_CONFIG = Path(__file__).parents[2] / "etc" / "llmsup.toml"
NO_CATALOG = "[catalog]\nserve_all = false\n"


def mistakes(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Parse what has mistakes; " @ llmsup.toml" is left out of each."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "llmsup.toml", environ or {})
    assert all(" @ llmsup.toml" in line for line in caught.value.mistakes)
    return [line.replace(" @ llmsup.toml: ", " @ ") for line in caught.value.mistakes]


def check_told(line: str, said: str | tuple[str, ...]) -> None:
    """`said`: the whole line, or what it must tell, with the place last."""
    if isinstance(said, str):
        assert line == said
    else:
        *told, place = said
        assert line.endswith(f" @ {place}")
        assert [part for part in told if part not in line] == []


def mistake(text: str, environ: Mapping[str, str] | None = None) -> str:
    (line,) = mistakes(text, environ)
    return line


# --- the whole file ---------------------------------------------------------------------------------------


def test_an_empty_file_is_the_defaults() -> None:
    assert parse("", "x") == Config()


def test_the_shipped_file_is_the_defaults() -> None:
    assert load(DEFAULT_CONFIG, {}) == Config()


def test_the_shipped_file_has_every_key() -> None:
    raw = tomllib.loads(DEFAULT_CONFIG.read_text())
    tables = (
        ("server", Server),
        ("catalog", Catalog),
        ("memory", Memory),
        ("history", History),
        ("prompt_cache", PromptCacheSpec),
        ("defaults", Settings),
    )
    for table, cls in tables:
        assert set(raw[table]) == set(attrs.fields_dict(cls))
    assert {*raw["bridge"], "cron"} == set(attrs.fields_dict(Bridge))


def examples() -> str:
    """What the shipped file has as examples, behind "# "."""
    lines = DEFAULT_CONFIG.read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("# [models.qwen3-4b]"))
    return "\n".join(
        line.removeprefix("#").strip()
        for line in lines[start:]
        if line.startswith("# ") and (line.startswith("# [") or " = " in line) and "cron" not in line
    )


def test_the_shipped_file_s_examples_are_right() -> None:
    config = parse(examples(), "examples")
    assert set(config.models) == {"qwen3-4b", "qwen3-32b", "whisper"}
    assert set(config.engines) == {"mlx", "llama-server", "vllm"}


@pytest.mark.parametrize(
    ("table", "example", "cls"),
    [
        ("keys", "laptop", KeySpec),
        ("peers", "studio", PeerSpec),
        ("rpc", "box", RpcSpec),
        ("engines", "mlx", EngineSpec),
    ],
)
def test_the_shipped_file_shows_every_key_of_tables_with_names(table: str, example: str, cls: type[Any]) -> None:
    """The block about peers was lost in a merge, and nobody noticed."""
    shown = tomllib.loads(examples())[table][example]
    known = set(attrs.fields_dict(cls)) - {"name"}
    assert set(shown) == known - ({"env"} if table == "keys" else set())  # instead of `hash`


def test_everything_at_once() -> None:
    config = parse(
        """
        [defaults]
        ttl = "1h"
        env = { A = "1", B = "2" }
        sampling = { top_k = 0, top_p = 1 }
        [models.qwen]
        path = "~/q.gguf"
        aliases = ["q"]
        env = { B = "3" }
        n_gpu_layers = 99
        sampling = { top_p = 0.5 }
        [models.qwen.presets.hot]
        temperature = 2
        [models.qwen.request]
        set = { "chat_template_kwargs.enable_thinking" = false }
        strip = ["logit_bias"]
        [models."org/whisper"]
        command = "whisper --port ${PORT} --name 'a b'"
        ttl = "never"
        health = ""
        [engines.mlx]
        command = ["mlx", "--port", "${PORT}"]
        """,
        "x",
    )
    qwen, whisper = config.models["qwen"], config.models["org/whisper"]
    assert (qwen.name, qwen.path, qwen.ttl) == ("qwen", str(Path.home() / "q.gguf"), 3600.0)
    assert qwen.env == {"A": "1", "B": "3"}
    assert qwen.sampling == {"top_k": 0, "top_p": 0.5}
    assert qwen.presets == {"hot": {"temperature": 2}}
    assert qwen.request.set == {"chat_template_kwargs.enable_thinking": False}
    assert qwen.request.strip == ("logit_bias",)
    assert whisper.command == ("whisper", "--port", "${PORT}", "--name", "a b")
    assert (whisper.ttl, whisper.health, whisper.env) == (math.inf, "", {"A": "1", "B": "2"})
    assert config.engines["mlx"].command == ("mlx", "--port", "${PORT}")


def test_a_key_that_says_the_default_still_wins_over_defaults() -> None:
    config = parse('[defaults]\nttl = "1h"\n[models.a]\npath = "a"\nttl = "30m"', "x")
    assert config.models["a"].ttl == 1800.0


def test_six_mistakes_are_six_lines() -> None:
    assert mistakes(
        """
        [server]
        listen = "localhost"
        max_queue = 0
        [catalog]
        roots = []
        ollama = ""
        [defaults]
        ttl = "5 minutes"
        [models.qwen3-4b]
        path = "/x.gguf"
        tttl = "1h"
        [models.other]
        aliases = ["qwen3-4b"]
        """
    ) == [
        '\'localhost\' is not HOST:PORT: write "127.0.0.1:5005" or "[::1]:5005", port 0 to 65535 @ server.listen',
        "must be at least 1, not 0 @ server.max_queue",
        '\'5 minutes\' is not a duration: write "90s", "30m", "1h30m" or "never" @ defaults.ttl',
        "unknown key 'tttl' (did you mean 'ttl'?) @ models.qwen3-4b",
        "a model needs 'path' or 'command', as [catalog] has no place to find it in @ models.other",
        "alias 'qwen3-4b' is the name of another model @ models.other.aliases",
    ]


def test_a_preset_that_no_name_reaches() -> None:
    """Another model, or an alias of one, has its name."""
    assert mistakes(
        """
        [models."x:hot"]
        path = "/y.gguf"
        aliases = ["z:cold"]
        [models.x]
        path = "/x.gguf"
        aliases = ["z"]
        presets = { hot = { temperature = 1 }, cold = { temperature = 0 }, fine = { temperature = 0.5 } }
        """
    ) == [
        "x:hot is the name of the model 'x:hot', too: rename one of them @ models.x.presets.hot",
        "z:cold is an alias of the model 'x:hot', too: rename one of them @ models.x.presets.cold",
    ]


def test_the_error_names_the_source_and_counts() -> None:
    with pytest.raises(ConfigError, match=r"^/etc/l\.toml: 2 mistakes$") as caught:
        parse("a = 1\nb = 2", "/etc/l.toml")
    assert caught.value.mistakes[0] == "unknown key 'a' @ /etc/l.toml"


def test_a_mistake_in_defaults_is_told_once() -> None:
    text = '[defaults]\nttl = "x"\nengine = "nope"\n[models.a]\npath = "a"\n[models.b]\npath = "b"'
    assert [line.split(" @ ")[1] for line in mistakes(text)] == ["defaults.ttl", "defaults.engine"]


def test_syntax() -> None:
    line = mistake("[server]\nlisten =\n")
    assert line.startswith("not valid TOML: ")
    assert "(at line 2, column 9)" in line


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("9" * 5000, "a whole number is larger than 64 bits"),
        ("[" * 3000 + "]" * 3000, "it nests too deeply"),
    ],
)
def test_what_only_pythons_limits_forbid(value: str, said: str) -> None:
    """It is told like any other mistake of syntax."""
    assert mistake(f"x = {value}").startswith(f"not valid TOML: {said}")


def test_a_table_that_was_already_read() -> None:
    assert parse({"server": {"max_queue": 5}}, "x").server.max_queue == 5


# --- single values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nmax_queue = '5'", "expected a whole number, got a string '5' @ server.max_queue"),
        ("[server]\nmax_queue = true", "expected a whole number, got true @ server.max_queue"),
        ("[server]\nmax_queue = 5.0", "expected a whole number, got a number 5.0 @ server.max_queue"),
        ("[server]\nlisten = 5005", "expected a string, got a whole number 5005 @ server.listen"),
        ("[catalog]\nserve_all = 1", "expected true or false, got a whole number 1 @ catalog.serve_all"),
        ("[defaults]\nargs = 'a b'", "expected a list of strings, got a string 'a b' @ defaults.args"),
        ("[defaults]\nargs = ['a', 1]", "expected a string, got a whole number 1 @ defaults.args[1]"),
        ("[defaults]\nenv = {A = 0}", "expected a string, got a whole number 0 @ defaults.env.A"),
        (
            '[defaults]\nenv = {"A=B" = "1"}',
            ("'A=B' can't name a variable", "'='", 'defaults.env."A=B"'),
        ),
        (
            '[defaults]\nenv = {"" = "1"}',
            ("'' can't name a variable", "empty", 'defaults.env.""'),
        ),
        ('[defaults]\nenv = {A = "\\u0000"}', ("NUL", "'\\x00'", "defaults.env.A")),
        ('[defaults]\nargs = ["\\u0000"]', ("NUL", "'\\x00'", "defaults.args[0]")),
        ('[server]\ncertfile = "\\u0000"', ("NUL", "'\\x00'", "server.certfile")),
        (
            '[models.a.request]\nset = {"model" = "b"}',
            ("'model' can't be changed here", "`upstream_model`", "models.a.request.set.model"),
        ),
        (
            '[models.a.request]\nset = {"" = 1}',
            ("'' is not the name", "dots", 'models.a.request.set.""'),
        ),
        (
            '[models.a.request]\nstrip = ["x", "a..b"]',
            ("'a..b' is not the name", "dots", "models.a.request.strip[1]"),
        ),
        (
            '[models.a.request]\nstrip = ["model"]',
            ("'model' can't be changed here", "`upstream_model`", "models.a.request.strip[0]"),
        ),
        (
            '[server]\nstate_dir = "/x/${env:HOME"',
            ("'${env:'", '"${env:NAME}"', "server.state_dir"),
        ),
        (
            '[defaults]\nargs = ["${Env.HOME}"]',
            ("'${Env.'", '"${env:NAME}"', "defaults.args[0]"),
        ),
        ("[defaults]\nctx_size = -1", "must be at least 0, not -1 @ defaults.ctx_size"),
        ("[defaults]\nn_gpu_layers = -1", "must be at least 0, not -1 @ defaults.n_gpu_layers"),
        ("[defaults]\ndevices = ['CUDA0,CUDA1']", ("'CUDA0,CUDA1' is not a device's name: write", "defaults.devices")),
        ("[defaults]\ndevices = ['']", ("'' is not a device's name: write", "defaults.devices")),
        ("[defaults]\ndevices = ['CUDA0', 'CUDA0']", "a device is named twice @ defaults.devices"),
        (
            "[models.a]\npath = 'x'\ndevices = ['none', 'CUDA0']",
            '"none" leaves only the CPU: write it alone @ models.a.devices',
        ),
        ("[defaults]\nthreads = 0", "must be at least 1, not 0 @ defaults.threads"),
        (
            "[defaults]\nthreads = 'atuo'",
            "expected a whole number, got a string 'atuo' (did you mean 'auto'?) @ defaults.threads",
        ),
        (
            "[defaults]\npriority = 'hihg'",
            ("expected one of 'high', 'normal', 'low', got a string 'hihg' (did you mean 'high'?) @ defaults.priority"),
        ),
        ("[defaults]\nttl = -1", 'must be finite and not negative, or "never": -1 @ defaults.ttl'),
        (
            "[defaults]\nttl = true",
            'expected a duration such as "90s" or a number of seconds, got true @ defaults.ttl',
        ),
        ("[defaults]\nstart_timeout = 0", "must be more than 0 @ defaults.start_timeout"),
        ("[history]\nkeep = 'never'", 'must end: "never" is not possible here @ history.keep'),
        ("[history]\nkept = '7d'", "unknown key 'kept' (did you mean 'keep'?) @ history"),
        ("keep = '7d'", "unknown key 'keep' (it belongs in [history]) @ llmsup.toml"),
        ("[defaults]\nstop_grace = 'never'", 'must end: "never" is not possible here @ defaults.stop_grace'),
        ("[defaults]\ncache_ram = -1", "must not be negative: -1 @ defaults.cache_ram"),
        (
            "[memory]\nreserve = 1.5",
            (
                "expected a size such as \"8GiB\" or a whole number of bytes, got a number 1.5 (or 'auto')"
                " @ memory.reserve"
            ),
        ),
        (
            '[memory]\nmin_residency = "autp"',
            (
                """'autp' is not a duration: write "90s", "30m", "1h30m" or "never" (did you mean 'auto'?)"""
                " @ memory.min_residency"
            ),
        ),
        ('[memory]\nprobe = "a \'b"', 'No closing quotation in the command "a \'b" @ memory.probe'),
        ("[memory]\nprobe = ''", 'expected "auto" or a command, got nothing @ memory.probe'),
        (
            "[bridge]\ncommand = 3",
            ("expected a command (a string or a list of strings), got a whole number 3 @ bridge.command"),
        ),
        ("[bridge]\ncron = '61 * * * *'", "'61 * * * *' is not a schedule: bad minute @ bridge.cron"),
        ("[bridge]\ncron = '0 0 31 2 *'", "'0 0 31 2 *' is not a schedule: bad day-of-month @ bridge.cron"),
        ("[bridge]\ncron = '0 0 */31 * 0#5'", ("'0 0 */31 * 0#5' is not a schedule", "bridge.cron")),
        (
            "[bridge]\ncron = 'hourly'",
            ("'hourly' is not a schedule: write five fields, \"minute hour day month weekday\" @ bridge.cron"),
        ),
        ("[server]\nstate_dir = ''", "a path can't be empty @ server.state_dir"),
        (
            "[server]\nstate_dir = '~no-such-user-here/x'",
            "'~no-such-user-here/x': no such home directory @ server.state_dir",
        ),
        ("[catalog]\nroots = ['/a', 1]", "expected a string, got a whole number 1 @ catalog.roots[1]"),
        *(
            (
                f"[server]\nhosts = ['{name}']",
                f'{name!r} is not a host\'s name: write "llm.example.org", without scheme and port @ server.hosts',
            )
            for name in ("http://x", "x:5005", "x/y", "", "*.x.org", "a b", "ü.de")
        ),
        (
            "[server]\ncors_origins = ['https://x/']",
            ('\'https://x/\' is not a web origin: write "https://host" or "https://host:port" @ server.cors_origins'),
        ),
        ("[server]\nfast = {a = true}", "expected true or false, got a table @ server.fast"),
        ("[server]\nlisten = [true, {a=1}, [2]]", "expected a string, got a list [true, {...}, [...]] @ server.listen"),
        ("[server]\nmax_queue = 0x8000000000000000", "a whole number is larger than 64 bits @ server.max_queue"),
        ("server = 1", "expected a table, got a whole number 1 @ server"),
        ("models = []", "expected a table, got a list [] @ models"),
        ("[models]\nx = 1", "expected a table, got a whole number 1 @ models.x"),
        ("ttl = 1", "unknown key 'ttl' (it belongs in [defaults]) @ llmsup.toml"),
        ("[sever]", "unknown key 'sever' (did you mean 'server'?) @ llmsup.toml"),
        ("[defaults]\npath = 'x'", "unknown key 'path' @ defaults"),
        ("[models.a]\npath = 'x'\nname = 'b'", "unknown key 'name' @ models.a"),
        (
            "[models.a]\npath = 'x'\nhealth = 'health'",
            ("'health' is not a path: it must start with '/' and hold no spaces @ models.a.health"),
        ),
        (
            "[models.a]\npath = 'x'\nidle_paths = ['/ok', 'ui/*']",
            ("'ui/*' is not a path: it must start with '/' and hold no spaces @ models.a.idle_paths"),
        ),
        (
            "[defaults]\nidle_paths = ['']",
            ("'' is not a path: it must start with '/' @ defaults.idle_paths"),
        ),
        (
            "[models.a]\npath = 'x'\nkind = 'chatty'",
            (
                "expected one of 'chat', 'embedding', 'rerank', got a string"
                " 'chatty' (did you mean 'chat'?) @ models.a.kind"
            ),
        ),
        (
            "[models.a]\npath = 'x'\n[models.a.request]\nset = {a = 2020-01-01}",
            ("JSON", "got a date 2020-01-01", "models.a.request.set.a"),
        ),
        ("[models.'a.b']\npath = 1", 'expected a string, got a whole number 1 @ models."a.b".path'),
    ],
)
def test_one_mistake(text: str, said: str | tuple[str, ...]) -> None:
    check_told(mistake(text), said)


def test_whole_numbers_are_numbers() -> None:
    config = parse("[defaults]\nttl = 90\nstop_grace = 0.5\ncache_ram = 0\nsampling = {temperature = 1}", "x")
    assert (config.defaults.ttl, config.defaults.stop_grace, config.defaults.cache_ram) == (90.0, 0.5, 0)
    assert type(config.defaults.ttl) is float


def test_words_for_nothing_and_for_ever() -> None:
    config = parse(
        '[catalog]\nollama = ""\n[defaults]\nmemory = ""\n[bridge]\nevery = "never"\n[memory]\nlimit = "auto"', "x"
    )
    assert config.catalog.ollama is None
    assert config.defaults.memory is None
    assert config.bridge.every == math.inf
    assert config.memory.limit == "auto"


def test_a_floor_for_residencies_is_a_duration_or_auto() -> None:
    """By default nothing but a reload's cost keeps a model."""
    assert parse("", "x").memory.min_residency == parse('[memory]\nmin_residency = "auto"', "x").memory.min_residency
    assert parse("", "x").memory.min_residency == "auto"
    assert parse('[memory]\nmin_residency = "2m"', "x").memory.min_residency == Seconds(120)


def test_sizes_and_probe() -> None:
    config = parse('[defaults]\nmemory = "6GiB"\n[memory]\nreserve = 4096\nprobe = "free --json"', "x")
    assert (config.defaults.memory, config.memory.reserve) == (6 * 1024**3, 4096)
    assert config.memory.probe == ("free", "--json")
    assert parse('[memory]\nprobe = "auto"', "x").memory.probe == "auto"


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/au")
    config = parse(
        """
        [server]
        state_dir = "~/s"
        certfile = "~/c.pem"
        keyfile = "/k.pem"
        [catalog]
        roots = ["~/m", "/m"]
        [bridge]
        target = "~"
        command = "~/bin/bridge --from ~/.ollama --not a~b"
        """,
        "x",
    )
    assert config.server.state_dir == Path("/home/au/s")
    assert (config.server.certfile, config.server.keyfile) == ("/home/au/c.pem", "/k.pem")
    assert config.catalog.roots == (Path("/home/au/m"), Path("/m"))
    assert config.catalog.ollama == Path("/home/au/.ollama/models")
    assert config.bridge.target == Path("/home/au")
    assert config.bridge.command == ("/home/au/bin/bridge", "--from", "/home/au/.ollama", "--not", "a~b")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1:5005", ("127.0.0.1", 5005)),
        ("[::1]:0", ("::1", 0)),
        ("[fe80::1%en0]:80", ("fe80::1%en0", 80)),
        ("localhost:65535", ("localhost", 65535)),
        (":5005", ("", 5005)),
    ],
)
def test_listen(text: str, parts: tuple[str, int]) -> None:
    assert parse_listen(text) == parts
    assert parse({"server": {"listen": text}}, "x").server.listen == text


@pytest.mark.parametrize("text", ["", "5005", ":", "a:", "a:65536", "a:-1", "::1:80", "[a:1", "http://a:1", "a b:1"])
def test_no_listen(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        parse_listen(text)


# --- the environment --------------------------------------------------------------------------------------


def test_variables_are_replaced_everywhere() -> None:
    config = parse(
        """
        [server]
        api_keys = ["${env:KEY}"]
        [defaults]
        ttl = "${env:TTL}m"
        env = { HF = "a${env:KEY}b${env:KEY}" }
        [models.a]
        command = "x ${PORT} ${env:KEY}"
        request = { set = { user = ["${env:KEY}"] } }
        """,
        "x",
        {"KEY": "k", "TTL": "5"},
    )
    assert config.server.api_keys == ("k",)
    assert config.defaults.ttl == 300.0
    assert config.defaults.env == {"HF": "akbk"}
    assert config.models["a"].command == ("x", "${PORT}", "k")
    assert config.models["a"].request.set == {"user": ["k"]}


def test_an_unset_variable_is_one_mistake_and_hides_no_other() -> None:
    assert mistakes(
        """
        [server]
        certfile = "${env:NOPE}"
        keyfile = "k"
        [models.a]
        path = "${env:NOPE}"
        [models.b]
        command = ["b", "${env:NOPE}"]
        [models.c]
        path = "c"
        sampling = { grammar = "${env:NOPE}", temp = 1 }
        [engines.e]
        command = "${env:NOPE}"
        """
    ) == [
        "environment variable 'NOPE' is not set @ server.certfile",
        "environment variable 'NOPE' is not set @ models.a.path",
        "environment variable 'NOPE' is not set @ models.b.command[1]",
        "environment variable 'NOPE' is not set @ models.c.sampling.grammar",
        "unknown sampling parameter 'temp' (did you mean 'temperature'?) @ models.c.sampling.temp",
        "environment variable 'NOPE' is not set @ engines.e.command",
    ]


def test_what_api_keys_refer_to_is_known_as_secret() -> None:
    """The variables' names, so that no program is given them; those of other keys are no secrets of ours."""
    text = "[server]\napi_keys = ['${env:A}', 'x${env:B}y', 'plain']\n[models.m]\npath = 'm'\nenv = {C = '${env:C}'}\n"
    assert parse(text, "x", {"A": "1", "B": "2", "C": "3"}).secret_variables == {"A", "B"}
    assert parse("", "x").secret_variables == frozenset()
    assert "unknown key" in mistake("secret_variables = []")


def test_api_keys_are_never_shown() -> None:
    lines = mistakes("[server]\napi_keys = 'sesame'") + mistakes("[server]\napi_keys = ['', 'sesame']")
    assert "sesame" not in "".join(lines)
    assert "sesame" not in repr(parse("[server]\napi_keys = ['sesame']", "x"))


# --- sampling ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("temp", "temperature"),
        ("top_nsigma", "top_n_sigma"),
        ("typ_p", "typical_p"),
        ("top-k", "top_k"),
        ("TopP", "top_p"),
        ("repetition_penalty", "repeat_penalty"),
    ],
)
def test_sampling_names(wrong: str, right: str) -> None:
    line = mistake(f"[defaults.sampling]\n{wrong} = 1")
    assert line == f"unknown sampling parameter '{wrong}' (did you mean '{right}'?) @ defaults.sampling.{wrong}"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("top_p = 1.5", "must be 0 to 1, not 1.5"),
        ("temperature = -1", "must be at least 0, not -1"),
        ("temperature = nan", "must be at least 0, not nan"),
        ("presence_penalty = inf", "must be finite, not inf"),
        ("top_k = 1.5", "expected a whole number, got a number 1.5"),
        ("top_k = true", "expected a whole number, got true"),
        ("cache_prompt = 1", "expected true or false, got a whole number 1"),
        ("stop = 1", "expected a string or a list, got a whole number 1"),
        ("stop = [1]", "expected strings in the list, got a whole number 1"),
        ("samplers = ['top_k', 'typical_p']", "there is no 'typical_p' (did you mean 'typical-p'?)"),
        ("samplers = 'top_k;temprature'", "there is no 'temprature' (did you mean 'temperature'?)"),
    ],
)
def test_sampling_values(text: str, what: str) -> None:
    key = text.partition(" ")[0]
    assert mistake(f"[defaults.sampling]\n{text}") == f"{what} @ defaults.sampling.{key}"
    assert mistake(f"[models.a]\npath = 'x'\n[models.a.presets.p]\n{text}").startswith(what)


@pytest.mark.parametrize("name", ["", " ", "a:b"])
def test_names_of_presets(name: str) -> None:
    assert "can't name a preset" in mistake(f"[models.a]\npath = 'x'\n[models.a.presets.{name!r}]\ntop_k = 1")


# --- keys together ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\ncertfile = 'c'", "'certfile' needs 'keyfile', too @ server"),
        ("[server]\nkeyfile = 'k'", "'keyfile' needs 'certfile', too @ server"),
        (
            "[models.a]\n[catalog]\nroots = []\nollama = ''",
            ("needs 'path' or 'command'", "[catalog]", "models.a"),
        ),
        (
            "[models.a]\npath = ''\ncommand = []\n[catalog]\nroots = []\nollama = ''",
            ("needs 'path' or 'command'", "[catalog]", "models.a"),
        ),
        (
            "[models.a]\npath = 'a'\naliases = ['x']\n[models.b]\npath = 'b'\naliases = ['x']",
            "alias 'x' is an alias of 'a', too @ models.b.aliases",
        ),
        ("[models.'']\npath = 'a'", 'a name can\'t be empty @ models.""'),
        ("[models.' a']\npath = 'a'", "' a' starts or ends with a space @ models.\" a\""),
        ('[models."a\\n b"]\npath = "a"', "'a\\n b' holds control characters @ models.\"a\n b\""),
        ("[models.a]\npath = 'a'\naliases = ['b ']", "'b ' starts or ends with a space @ models.a.aliases"),
        (
            "[models.a]\npath = 'a'\nengine = 'mxl'\n[engines.mlx]\ncommand = 'x ${PORT}'",
            "no engine is called 'mxl' (did you mean 'mlx'?) @ models.a.engine",
        ),
        (
            "[defaults]\nengine = 'sglang'",
            "no engine is called 'sglang' (there are: auto, llama-server, bundled, vllm) @ defaults.engine",
        ),
        (
            "[engines.auto]\ncommand = 'x ${PORT}'",
            ("the engine 'auto' is built in: give this one another name @ engines.auto"),
        ),
        ("[engines.bundled]", "the engine 'bundled' is built in: give this one another name @ engines.bundled"),
        ("[engines.x]", "an engine needs 'command' @ engines.x"),
        (
            "[engines.x]\ncommand = 'x'",
            ("neither ${PORT} nor ${SOCKET}", "engines.x.command"),
        ),
        (
            "[models.a]\ncommand = 'x'",
            ("neither ${PORT} nor ${SOCKET}", "models.a.command"),
        ),
        (
            "[models.a]\ncommand = 'x ${PROT}'",
            ("unknown placeholder '${PROT}' (did you mean 'PORT'?) @ models.a.command"),
        ),
        (
            "[models.a]\ncommand = 'x ${PORT} ${HOME}'",
            ("unknown placeholder '${HOME}' (there are: PORT, SOCKET, PATH, NAME, ARGS, env:NAME) @ models.a.command"),
        ),
        (
            "[models.a]\ncommand = 'x ${PORT} ${PATH}'",
            ("${PATH}", "the model has no 'path'", "models.a.command"),
        ),
        (
            "[models.a]\ncommand = 'x ${PORT}'\nengine = 'auto'",
            ("both 'command' and 'engine' are set: keep one @ models.a"),
        ),
        ("[bridge]\nevery = '1h'\ncron = '0 * * * *'", "both 'every' and 'cron' are set: keep one @ bridge"),
        (
            f"{NO_CATALOG}[server]\ndefault_model = 'qwem'\n[models.qwen]\npath = 'a'",
            "no model is called 'qwem' (did you mean 'qwen'?) @ server.default_model",
        ),
    ],
)
def test_keys_that_do_not_fit(text: str, said: str | tuple[str, ...]) -> None:
    check_told(mistake(text), said)


@pytest.mark.parametrize("name", ["qwen", "QWEN", "q", "qwen:hot", "q:hot"])
def test_default_models(name: str) -> None:
    models = '[models.qwen]\npath = "a"\naliases = ["q"]\npresets = { hot = {} }'
    server = f'[server]\ndefault_model = "{name}"\n'
    assert parse(server + NO_CATALOG + models, "x").server.default_model == name
    assert parse(f'[server]\ndefault_model = "any/{name}"', "x").server.default_model == f"any/{name}"


def test_what_may_stand_together() -> None:
    config = parse(
        """
        [defaults]
        engine = "llama-server"
        [models.a]
        path = "a.gguf"
        command = "x ${PATH} --unix ${SOCKET} ${NAME} ${ARGS}"
        aliases = ["A", "a"]
        [bridge]
        cron = "0 * * * *"
        [engines.llama-server]
        command = "/opt/llama-server --no-ui"
        """,
        "x",
    )
    assert config.models["a"].path == "a.gguf"
    assert config.engines["llama-server"].command == ("/opt/llama-server", "--no-ui")


# --- files ------------------------------------------------------------------------------------------------


def test_load(tmp_path: Path) -> None:
    file = tmp_path / "l.toml"
    file.write_bytes(b"\xef\xbb\xbf[server]\r\nmax_queue = 3\r\n")
    assert load(file).server.max_queue == 3


def test_load_says_why_not(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"can't be read: No such file .* --config"):
        load(tmp_path / "missing.toml")
    with pytest.raises(SetupError, match="Is a directory"):
        load(tmp_path)
    file = tmp_path / "latin1.toml"
    file.write_bytes(b"# gr\xfc\xdfe")
    with pytest.raises(ConfigError) as caught:
        load(file)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("not UTF-8 text")
    assert mistake.endswith(f"byte 4 @ {file}")


def test_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    named, usual = tmp_path / "named.toml", tmp_path / ".config" / "llmsup" / "llmsup.toml"
    assert find(None, {}) is None
    assert find(None, {"LLMSUP_CONFIG": ""}) is None
    usual.parent.mkdir(parents=True)
    usual.touch()
    assert find(None, {}) == usual
    named.touch()
    assert find(None, {"LLMSUP_CONFIG": str(named)}) == named
    assert find("~/named.toml", {"LLMSUP_CONFIG": "/elsewhere"}) == named


def test_find_refuses_what_is_named_but_missing(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.toml")
    with pytest.raises(SetupError, match="which --config names"):
        find(missing, {})
    with pytest.raises(SetupError, match=r"which \$LLMSUP_CONFIG names"):
        find(None, {"LLMSUP_CONFIG": missing})
