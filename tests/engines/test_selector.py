"""Which engine a model gets, and which file its path means."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path
from typing import Any, Literal

import pytest
from engine_kinds import kinds

from llmsup.catalog.disk.model_path import resolve_path
from llmsup.catalog.entry import Entry
from llmsup.catalog.found import Found
from llmsup.catalog.gguf.facts import Facts
from llmsup.config.live import LiveConfig
from llmsup.config.schema import Catalog, Config, EngineSpec, ModelSpec
from llmsup.engines.address import TcpAddress, UnixAddress
from llmsup.engines.bundled.kind import xllamacpp_installed
from llmsup.engines.kinds import KINDS
from llmsup.engines.launch import Launch
from llmsup.engines.llama_server.flag_probe import FlagProbe
from llmsup.engines.missing import lines_of, without_engine
from llmsup.engines.selector import EngineSelector
from llmsup.errors import SetupError

SOCKET = Path("/run/llmsup/m.sock")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    top = tmp_path / "models"
    for name in (
        "pub/one/one-Q4.gguf",
        "pub/one/mmproj-one.gguf",
        "pub/two/two-Q4.gguf",
        "pub/two/two-Q8.gguf",
        "pub/big/big-00001-of-00002.gguf",
        "pub/big/big-00002-of-00002.gguf",
        "odd/a[1].gguf",
    ):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()
    return top


@pytest.fixture
def server(tmp_path: Path) -> Path:
    binary = tmp_path / "bin" / "llama-server"
    binary.parent.mkdir()
    flags = "--model --host --port --alias --ctx-size -c --threads --cache-ram --metrics --typical"
    binary.write_text(f"#!/bin/sh\nfor f in {flags}; do echo $f; done\n")
    binary.chmod(0o755)
    return binary


def selector(
    root: Path, on_path: Path | None = None, *, bundled: bool = False, ollama: Path | None = None, **settings: Any
) -> EngineSelector:
    def which(program: str) -> str | None:
        if program == "llama-server":
            return str(on_path) if on_path else None
        return program if program.startswith("/") else f"/usr/bin/{program}"

    engines = {name: EngineSpec(name=name, command=command) for name, command in settings.pop("engines", {}).items()}
    config = Config(catalog=Catalog(roots=(root,)), engines=engines)
    return EngineSelector(
        config=LiveConfig(config),
        probe=FlagProbe(),
        which=which,
        kinds=kinds(bundled=bundled, ollama=ollama),
        cores=lambda: 4,
        **settings,
    )


def spec(**settings: Any) -> ModelSpec:
    return ModelSpec(**{"name": "m", "path": "pub/one/*.gguf", "threads": 2, **settings})


def model_of(launch: Launch) -> str:
    return launch.argv[launch.argv.index("--model") + 1]


async def test_llama_server_on_path_comes_first(root: Path, server: Path) -> None:
    made = await selector(root, server, bundled=True).plan(spec(args=("--ctx-size", "9"), env={"A": "b"}), SOCKET)
    assert made.engine == "llama-server"
    model = str(root / "pub/one/one-Q4.gguf")
    assert made.argv == (
        *(str(server), "--model", model, "--host", str(SOCKET), "--alias", "m"),
        *("--threads", "2", "--cache-ram", "2048", "--ctx-size", "9"),
    )
    assert made.address == UnixAddress(SOCKET)
    assert made.env == {"A": "b", "LLAMA_SERVER_ROUTER_PORT": "1"}
    assert made.tells_progress
    assert made.farewell == b"cmd_router_to_child:exit\n"
    assert made.health == "/health"


async def test_the_bundled_engine_needs_no_llama_server(root: Path) -> None:
    made = await selector(root, bundled=True).plan(spec(sampling={"top_n_sigma": 1, "top_k": 3}), SOCKET)
    assert made.engine == "bundled"
    assert made.argv[:3] == (sys.executable, "-m", "llmsup.engines.bundled.process")
    assert made.argv[-2:] == ("--top-k", "3")
    assert made.env["LLMSUP_STDIN_GUARD"] == "1"
    assert made.body_defaults == {"top_n_sigma": 1}


async def test_bundled_by_name(root: Path, server: Path) -> None:
    assert (await selector(root, server, bundled=True).plan(spec(engine="bundled"), SOCKET)).engine == "bundled"
    with pytest.raises(SetupError, match="bundled engine is not installed"):
        await selector(root, server).plan(spec(engine="bundled"), SOCKET)


async def test_no_engine_at_all_names_both_remedies(root: Path) -> None:
    with pytest.raises(
        SetupError, match=r"there is no engine. .*brew install llama.cpp.*pip install 'llmsup\[engine\]'"
    ):
        await selector(root).plan(spec(), SOCKET)
    with pytest.raises(SetupError, match=r"llama-server is not on PATH.*brew"):
        await selector(root, bundled=True).plan(spec(engine="llama-server"), SOCKET)


async def test_a_llama_server_table_names_the_binary_and_leading_arguments(root: Path, server: Path) -> None:
    made = selector(root, engines={"llama-server": (str(server), "--metrics")}, bundled=True)
    for engine in ("auto", "llama-server"):
        assert (await made.plan(spec(engine=engine), SOCKET)).argv[:3] == (str(server), "--metrics", "--model")


async def test_a_llama_server_table_with_placeholders_is_a_command(root: Path) -> None:
    made = selector(root, engines={"llama-server": ("docker", "run", "-p", "${PORT}:80", "x", "-m", "${PATH}")})
    launch = await made.plan(spec(engine="llama-server"), SOCKET)
    assert launch.argv[0] == "/usr/bin/docker"
    assert isinstance(launch.address, TcpAddress)
    assert not launch.tells_progress


async def test_a_named_engine_takes_directories_too(root: Path) -> None:
    made = selector(root, engines={"mlx": ("mlx.server", "${PATH}", "${PORT}")})
    launch = await made.plan(spec(engine="mlx", path="pub/two"), SOCKET)
    assert launch.engine == "mlx"
    assert launch.argv[:2] == ("/usr/bin/mlx.server", str(root / "pub/two"))
    with pytest.raises(SetupError, match=r"no engine 'mlxx'; add \[engines.mlxx\]"):
        await made.plan(spec(engine="mlxx"), SOCKET)


async def test_a_command_needs_a_path_only_where_it_says_so(root: Path) -> None:
    made = await selector(root).plan(spec(command=("srv", "${PORT}"), path=""), SOCKET)
    assert (made.engine, made.argv[0]) == ("command", "/usr/bin/srv")
    llamafile = await selector(root).plan(spec(command=("${PATH}", "${PORT}")), SOCKET)
    assert llamafile.argv[0] == str(root / "pub/one/one-Q4.gguf")
    gone = EngineSelector(config=LiveConfig(Config()), probe=FlagProbe(), which=lambda program: None)
    with pytest.raises(SetupError, match="srv is not on PATH"):
        await gone.plan(spec(command=("srv", "${PORT}")), SOCKET)


@pytest.mark.parametrize(("several", "threads"), [(True, "2"), (False, "4")])
@pytest.mark.parametrize("bundled", [True, False])
async def test_cores_are_shared_where_there_are_several_models(
    root: Path, server: Path, several: bool, threads: str, bundled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both built-in engines get the share, and the environment that goes with it; the model's own `env` stays."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    made = selector(root, None if bundled else server, bundled=bundled, several=lambda: several)
    launch = await made.plan(spec(threads="auto", env={"A": "b"}), SOCKET)
    assert launch.env["A"] == "b"
    if sys.platform == "darwin":
        assert "--threads" not in launch.argv
    else:
        assert launch.argv[launch.argv.index("--threads") + 1] == threads
        assert launch.env.get("OMP_WAIT_POLICY") == ("passive" if several else None)


async def test_mistakes_are_found_before_anything_starts(root: Path, server: Path) -> None:
    made = selector(root, server)
    with pytest.raises(SetupError, match="neither a path nor a command"):
        await made.plan(spec(path=""), SOCKET)
    with pytest.raises(SetupError, match="too long"):
        await made.plan(spec(), Path("/" + "x" * 99 + ".sock"))
    with pytest.raises(SetupError, match="--port"):
        await made.plan(spec(args=("--port", "1")), SOCKET)
    with pytest.raises(SetupError, match="can't be given parallel"):
        await made.plan(spec(parallel=2), SOCKET)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("pub/one/one-Q4.gguf", "pub/one/one-Q4.gguf"),
        ("pub/one/*.gguf", "pub/one/one-Q4.gguf"),
        ("*/two/two-Q8.gguf", "pub/two/two-Q8.gguf"),
        ("pub/big/*.gguf", "pub/big/big-00001-of-00002.gguf"),
        ("pub/one/mmproj*", "pub/one/mmproj-one.gguf"),
        ("odd/a[1].gguf", "odd/a[1].gguf"),
    ],
)
def test_paths(root: Path, path: str, found: str) -> None:
    assert resolve_path(spec(path=path), [root]) == root / found
    if "**" not in path:
        assert resolve_path(spec(path=str(root / path)), []) == root / found


def test_a_file_reached_through_two_roots_is_one(root: Path, tmp_path: Path) -> None:
    (tmp_path / "again").symlink_to(root)
    assert resolve_path(spec(), [root, tmp_path / "again"]).name == "one-Q4.gguf"


def test_home(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root))
    assert resolve_path(spec(path="~/pub/two/two-Q4.gguf"), []) == root / "pub/two/two-Q4.gguf"
    assert resolve_path(spec(path="one/one-Q4.gguf"), [Path("~/pub")]) == root / "pub/one/one-Q4.gguf"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("pub/two/*.gguf", r"matches 2 models: .*two-Q4.gguf, .*two-Q8.gguf. Name one"),
        ("pub/none*.gguf", r"'pub/none\*.gguf' matches no file. Looked in .*models"),
        ("/none.gguf", r"'/none.gguf' matches no file.$"),
        ("pub/two", "matches no file"),
    ],
)
def test_paths_that_mean_no_file_or_several(root: Path, path: str, message: str) -> None:
    with pytest.raises(SetupError, match=message):
        resolve_path(spec(path=path), [root])


def test_a_broken_link_is_no_file(root: Path) -> None:
    (root / "gone.gguf").symlink_to(root / "nowhere")
    with pytest.raises(SetupError, match="matches no file"):
        resolve_path(spec(path="gone.gguf"), [root])


def test_xllamacpp_is_looked_for_without_importing_it() -> None:
    assert isinstance(xllamacpp_installed(), bool)
    assert "xllamacpp" not in sys.modules or xllamacpp_installed()


async def test_what_only_ollama_can_run_runs_with_ollamas_llama_server(root: Path, server: Path) -> None:
    """Where it is installed; else the reason is told, whatever other engine there is."""
    found = Found(id="m", path=root / "pub/one/one-Q4.gguf", files=(), facts=Facts(architecture="gptoss", kind="chat"),
                  ollama_only="'gptoss' is Ollama's own name")  # fmt: skip
    made = selector(root, bundled=True, ollama=server)
    model = spec(path=str(found.path))
    assert (await made.plan(model, SOCKET, found)).argv[:3] == (str(server), "--model", str(found.path))
    with pytest.raises(SetupError, match="only Ollama's llama-server can run it: 'gptoss' is Ollama's own name"):
        await selector(root, server, bundled=True).plan(model, SOCKET, found)
    bundled = await made.plan(spec(path=str(found.path), engine="bundled"), SOCKET, found)
    assert bundled.engine == "bundled", "who asks for an engine gets it"


async def test_a_files_flags_are_given(root: Path, server: Path) -> None:
    """Its projector, before the user's own arguments."""
    found = Found(id="m", path=root / "pub/one/one-Q4.gguf", files=(), facts=Facts(architecture="llama", kind="chat"),
                  projector=root / "pub/one/mmproj-one.gguf")  # fmt: skip
    made = selector(root, bundled=True)
    argv = (await made.plan(spec(path=str(found.path), args=("--ctx-size", "9")), SOCKET, found)).argv
    assert argv[-4:] == ("--mmproj", str(found.projector), "--ctx-size", "9")


async def test_a_command_that_is_a_llama_server_is_corrected_too(root: Path, server: Path) -> None:
    """A flag that this build has another name for is written so, and told; one that it doesn't know is named."""
    made = selector(root, bundled=True, engines={"llama-server": (str(server), "--typ-p", "1.0")})
    launch = await made.plan(spec(), SOCKET)
    assert launch.argv[:3] == (str(server), "--typical", "1.0")
    assert launch.corrections == ("command: --typ-p is --typical here",)
    own = spec(command=(str(server), "--port", "${PORT}", "--typ-p", "0.9"), path="")
    launch = await made.plan(own, SOCKET)
    assert launch.argv[-2:] == ("--typical", "0.9")
    assert launch.corrections == ("command: --typ-p is --typical here",)
    unknown = spec(command=(str(server), "--port", "${PORT}", "--bogus-flag"), path="")
    with pytest.raises(SetupError, match=r"model m: command has '--bogus-flag', which .* does not know"):
        await made.plan(unknown, SOCKET)


async def test_the_args_of_a_command_that_is_a_llama_server_are_corrected_too(root: Path, server: Path) -> None:
    """It doesn't take `--ctx-size=512`, and ends at a flag that it doesn't know, wherever these stand."""
    made = selector(root, bundled=True, engines={"mine": (str(server), "--port", "${PORT}", "--model", "${PATH}")})
    for settings in ({"command": (str(server), "--port", "${PORT}"), "path": ""}, {"engine": "mine"}):
        launch = await made.plan(spec(args=("--ctx-size=512", "--typ_p=0.9"), **settings), SOCKET)
        assert launch.argv[-4:] == ("--ctx-size", "512", "--typical", "0.9")
        assert launch.corrections[0] == "args: --ctx-size=512 is --ctx-size 512 here"
        with pytest.raises(SetupError, match=r"model m: args has '--bogus', which .* does not know"):
            await made.plan(spec(args=("--bogus",), **settings), SOCKET)
        with pytest.raises(SetupError, match=r"'-c=512'.* Write \"-c\", \"512\"\."):
            await selector(root, engines={"mine": made.config.now.engines["mine"].command}).plan(
                spec(args=("-c=512",), **settings), SOCKET
            )


async def test_a_name_with_a_comma(root: Path, server: Path) -> None:
    """A llama-server takes what follows the comma for another alias, and calls itself by one of them."""
    alias = "Model\N{FULLWIDTH COMMA} v1"
    argv = (await selector(root, server).plan(spec(name="Model, v1"), SOCKET)).argv
    assert argv[argv.index("--alias") + 1] == alias
    own = spec(name="Model, v1", path="", command=(str(server), "--port", "${PORT}", "--alias", "${NAME}"))
    assert (await selector(root).plan(own, SOCKET)).argv[-1] == alias
    argv = (await selector(root, bundled=True).plan(spec(name="Model, v1"), SOCKET)).argv
    assert argv[argv.index("--alias") + 1] == "Model, v1"
    other = spec(name="Model, v1", path="", command=("server", "--port", "${PORT}", "--name", "${NAME}"))
    assert (await selector(root).plan(other, SOCKET)).argv[-1] == "Model, v1"


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("typed", ["NFC", "NFD"])
def test_a_path_whose_letters_are_taken_apart(
    root: Path, on_disk: Literal["NFC", "NFD"], typed: Literal["NFC"]
) -> None:
    """A Mac's folders have them so, a keyboard has not."""
    name = unicodedata.normalize(on_disk, "übung.gguf")
    (root / name).touch()
    for path in ("übung.gguf", "übung*"):
        assert resolve_path(spec(path=unicodedata.normalize(typed, path)), [root]).name == name


async def test_what_no_engine_can_run_is_known_beforehand(root: Path, server: Path) -> None:
    """By the same choice that a load makes, but each program is looked for once; files are not looked at."""
    looked: list[str] = []

    def which(program: str) -> str | None:
        looked.append(program)
        return str(server) if program == str(server) else None

    def entry(name: str, **spec: Any) -> Entry:
        refusal = spec.pop("refusal", "")
        found = spec.pop("found", None)
        return Entry(spec=ModelSpec(name=name, **{"path": "/gone.gguf", **spec}), refusal=refusal, found=found)

    mlx = EngineSpec(name="mlx", command=("mlx_lm.server", "--port", "${PORT}"))
    bare = EngineSelector(
        config=LiveConfig(Config(engines={"mlx": mlx})), probe=FlagProbe(), which=which, kinds=kinds(),
    )  # fmt: skip
    stamp = Found(
        id="x", path=Path("/x"), files=(), facts=Facts(architecture="x", kind="chat"), ollama_only="it is odd"
    )
    entries = [
        *(entry(f"m{n}") for n in range(5)),
        entry("b", engine="bundled"),
        entry("c", command=("no-such", "${PORT}"), path=""),
        entry("d", command=(str(server), "--port", "${PORT}")),
        entry("e", engine="mlx"),
        entry("f", found=stamp),
        entry("g", refusal="it draws."),
        entry("h", command=("${PATH}", "--port", "${PORT}")),
    ]
    missing = await without_engine(bare, entries)
    assert lines_of(missing) == [
        f"m0, m1, m2 and 2 more can't be started: there is no engine. {KINDS.remedy}",
        f"b can't be started: the bundled engine is not installed. {KINDS.remedy}",
        "c can't be started: no-such is not on PATH, or can't be run.",
        "e can't be started: mlx_lm.server is not on PATH, or can't be run.",
        "f can't be started: only Ollama's llama-server can run it: it is odd.",
    ]
    assert len(looked) == len(set(looked)), "each is looked for once"
    assert await without_engine(selector(root, server), entries[:6]) == {
        "b": f"the bundled engine is not installed. {KINDS.remedy}"
    }
