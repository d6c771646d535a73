"""`check` tells what `serve` would refuse or warn of at its start: one case for each kind of thing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from engine_kinds import kinds
from gguf_files import tiny_llama
from ollama_store import add

from llmsup.cli import main
from llmsup.config.keys import hash_of
from llmsup.errors import SetupError
from llmsup.web.certificate import context_of


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's models, and the bundled engine as if it were installed: it isn't started."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("llmsup.cli.resolved.KINDS", kinds(bundled=True))


def check(tmp_path: Path, text: str) -> tuple[int, list[str], list[str]]:
    """The exit code, the mistakes and the warnings, less where the file is; with a model, so that there is one."""
    tiny_llama(tmp_path / "m/org/tiny/tiny.gguf")
    path = tmp_path / "l.toml"
    if "[catalog]" not in text:
        text += f"\n[catalog]\nroots = ['{tmp_path}/m']\nollama = ''"
    if "[defaults]" not in text:
        text += "\n[defaults]\nengine = 'bundled'\nctx_size = 512"
    path.write_text(text.format(dir=tmp_path))
    result = CliRunner().invoke(main, ["check", "--config", str(path), "--json"])
    told = json.loads(result.stdout)
    plain = CliRunner().invoke(main, ["check", "--config", str(path)])
    assert plain.exit_code == result.exit_code
    assert [line for line in plain.stderr.splitlines() if line] == [
        *(f"warning: {line}" for line in told["warnings"]),
        *told["mistakes"],
    ]
    here, where = f"@ {path}: ", f"{tmp_path}/"
    mistakes, warnings = (
        [line.replace(here, "@ ").replace(where, "") for line in told[key]] for key in ("mistakes", "warnings")
    )
    return result.exit_code, mistakes, warnings


def test_nothing_to_tell(tmp_path: Path) -> None:
    assert check(tmp_path, "") == (0, [], [])


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        ("[memory]\nprobe = 'nosuchprog'", ["nosuchprog is not on PATH, or can't be run @ memory.probe"]),
        ("[rpc.a]\ncommand = 'noworker -p ${{PORT}}'", ["noworker is not on PATH, or can't be run @ rpc.a.command"]),
        ("[bridge]\ncommand = ['/no/prog']", ["/no/prog is not on PATH, or can't be run @ bridge.command"]),
        (
            "[server]\nstate_dir = '{dir}/l.toml/state'",
            ["l.toml is not a directory: what llmsup remembers can't be written to l.toml/state @ server.state_dir"],
        ),
        (
            "[server]\ndefault_model = 'nix'",
            ["There is no model 'nix'. There are: 'org/tiny' @ server.default_model"],
        ),
        ("[server]\ndefault_model = 'TINY'", []),
        (
            "[server]\ncertfile = '{dir}/no.pem'\nkeyfile = '{dir}/l.toml'",
            [
                "server.certfile no.pem can't be read: No such file or directory. Check the path @ server.certfile",
                (
                    "server.keyfile l.toml can't be used: there is no private key in it as PEM has one."
                    " Both are PEM files: a certificate (with its chain) and its key without a password"
                    " @ server.keyfile"
                ),
            ],
        ),
        (
            "[catalog]\nroots = ['{dir}/l.toml']",
            ["l.toml is a file: name the folder that models are in @ catalog.roots[0]"],
        ),
    ],
)
def test_what_can_not_work(tmp_path: Path, text: str, mistakes: list[str]) -> None:
    """Exit code 2, and the place."""
    code, told, _ = check(tmp_path, text)
    assert (code, told) == (2 if mistakes else 0, mistakes)


def test_a_preset_that_a_found_model_hides(tmp_path: Path) -> None:
    """A request for it would get the other model, which Ollama has under that name."""
    add(tmp_path / "o", "x:hot", tiny_llama(tmp_path / "other.gguf"))
    text = (
        "[catalog]\nroots = []\nollama = '{dir}/o'\n[models.x]\npath = '{dir}/m/org/tiny/tiny.gguf'\n"
        "presets.hot.temperature = 1\npresets.cold.temperature = 0"
    )
    said = "x:hot is a name of the model 'x:hot', too: give the preset another one @ models.x.presets.hot"
    assert check(tmp_path, text) == (2, [said], [])


BIG = "[models.big]\npath = '{dir}/m/org/tiny/tiny.gguf'\nctx_size = 99999999"


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "[server]\nlisten = '0.0.0.0:5005'",
            (
                "anyone who can reach 0.0.0.0:5005 can use, load and unload your models: make a key "
                "(`llmsup key new NAME`), or listen on 127.0.0.1 @ server.listen"
            ),
        ),
        (
            "[rpc.a]\nurl = '127.0.0.1:1'",
            "RPC worker a can't be used now: nothing answers at 127.0.0.1:1 (connection refused) @ rpc.a.url",
        ),
        (
            "[server]\nlisten = '192.0.2.1:5005'",
            "Can't listen on 192.0.2.1:5005: Cannot assign requested address @ server.listen",
        ),
        (
            "[catalog]\nroots = ['{dir}/m', '{dir}/gone']\nollama = ''",
            "there is no gone: its models are served once it is there @ catalog.roots[1]",
        ),
        (
            "[catalog]\nroots = ['{dir}/m']\nollama = '{dir}/none'",
            "there is no none: its models are served once it is there @ catalog.ollama",
        ),
        (
            "[memory]\nlimit = '9MiB'",
            (
                "org/tiny of 1 found on the disk will never fit, as models may use 9.0 MiB together: `llmsup ls` shows"
                " what each needs @ memory.limit"
            ),
        ),
    ],
)
def test_what_may_be_so_for_now(tmp_path: Path, text: str, warning: str) -> None:
    """Exit code 0: a disk may be plugged in again, a limit may be meant."""
    assert check(tmp_path, text) == (0, [], [warning])


def test_a_model_that_will_never_fit(tmp_path: Path) -> None:
    """The context is more than any machine has."""
    code, mistakes, (warning,) = check(tmp_path, BIG)
    assert (code, mistakes) == (0, [])
    assert warning.startswith("model big: it will never fit: it needs ")
    assert warning.endswith("give it less context (ctx_size), or models more memory ([memory] limit) @ models.big")


def test_more_than_the_machine_has(tmp_path: Path) -> None:
    _, _, (limit,) = check(tmp_path, "[memory]\nlimit = '900TiB'")
    assert limit.startswith("models may use 900.0 TiB together, and this machine has ")
    _, _, (reserve, *_) = check(tmp_path, "[memory]\nreserve = '900TiB'")
    assert reserve.startswith("900.0 TiB are kept free, and this machine has ")


def test_a_default_model_on_a_disk_that_is_not_there(tmp_path: Path) -> None:
    """It may come with the disk."""
    text = "[server]\ndefault_model = 'nix'\n[catalog]\nroots = ['{dir}/gone']\nollama = ''"
    code, mistakes, warnings = check(tmp_path, text)
    assert (code, mistakes) == (0, [])
    assert [line.rpartition(" @ ")[2] for line in warnings] == [
        "server.default_model",
        "catalog.roots[0]",
        "l.toml",
    ]
    assert warnings[-1].startswith("there are no models to serve")


def test_a_mistake_of_form_hides_no_other(tmp_path: Path) -> None:
    """Whatever a mistake decides is not looked at; all the rest is."""
    text = """
        [models.a]
        command = "noprog --port ${{PORT}}"
        [models.b]
        command = "noprog2 --port ${{PORT}}"
        ttl = "x"
        [models.c]
        path = "{dir}/none.gguf"
        [models.d]
        engine = "srv"
        path = "{dir}/none.gguf"
        [models.e]
        pth = "tiny"
        [engines.srv]
        comand = "x"
    """
    _, mistakes, _ = check(tmp_path, text)
    assert [line.partition(" @ ")[0] for line in mistakes] == [
        "'x' is not a duration: write \"90s\", \"30m\", \"1h30m\" or \"never\"",
        "unknown key 'pth' (did you mean 'path'?)",
        "unknown key 'comand' (did you mean 'command'?)",
        "an engine needs 'command'",
        "model a: noprog is not on PATH, or can't be run",
        "model b: noprog2 is not on PATH, or can't be run",
        "model c: path 'none.gguf' matches no file",
    ]  # fmt: skip


def test_all_wrong_flags_of_a_model(tmp_path: Path) -> None:
    """And a file that isn't there hides none of them."""
    text = "[models.a]\nengine = 'bundled'\npath = '{dir}/none.gguf'\nargs = ['--foo', '--top-k', 'x', '--ctx-size']"
    _, mistakes, _ = check(tmp_path, text)
    assert [line.rpartition("model a: ")[2] for line in mistakes] == [
        "path 'none.gguf' matches no file @ models.a",
        "args has '--foo', which the bundled engine does not know @ models.a",
        "args has '--ctx-size', but no value for it @ models.a",
    ]


# --- certificates -----------------------------------------------------------------------------------------


def test_files_that_are_no_pair_or_want_a_password(tmp_path: Path) -> None:
    """The file at fault is named, and nobody is asked on the terminal."""
    pem, key, other, locked = (tmp_path / name for name in ("pem", "key", "other", "locked"))
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(pem)
    certificate.private_key_pem.write_to_path(key)
    authority.issue_cert("127.0.0.1").private_key_pem.write_to_path(other)
    secret = load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    context_of(str(pem), str(key))
    with pytest.raises(SetupError, match=rf"server.keyfile {other} is not the key of server.certfile {pem}"):
        context_of(str(pem), str(other))
    with pytest.raises(SetupError, match=rf"server.keyfile {locked} can't be used: .*password"):
        context_of(str(pem), str(locked))
    torn = tmp_path / "torn"
    torn.write_text(pem.read_text()[:200] + "\n-----END CERTIFICATE-----\n")
    with pytest.raises(SetupError, match=rf"server.certfile {torn} and server.keyfile {key} can't be used: "):
        context_of(str(torn), str(key))


def test_a_keys_patterns_that_fit_nothing(tmp_path: Path) -> None:
    """A typing error, most likely; or a model that isn't there yet, so it is a warning."""
    text = f"[keys.laptop]\nhash = '{hash_of('x')}'\nmodels = ['TINY', 'org/*', 'tony', 'org/tiny:hot']\n"
    code, mistakes, warnings = check(tmp_path, text)
    assert (code, mistakes) == (0, [])
    assert warnings == [
        "'tony' fits no model that is served now (did you mean 'tiny'?) @ keys.laptop.models[2]",
        "'org/tiny:hot' fits no model that is served now (did you mean 'org/tiny'?) @ keys.laptop.models[3]",
    ]


def test_named_keys_close_an_open_server(tmp_path: Path) -> None:
    text = f"[server]\nlisten = '0.0.0.0:5005'\n[keys.laptop]\nhash = '{hash_of('x')}'"
    assert check(tmp_path, text) == (0, [], [])


def test_an_authority_that_is_none_is_a_mistake_and_told_once(tmp_path: Path) -> None:
    """Nothing can be asked of the peer before somebody mends it."""
    (tmp_path / "text.pem").write_text("no certificate")
    text = """
    [peers.gone]
    url = "https://127.0.0.1:9"
    ca = "{dir}/none.pem"
    [peers.text]
    url = "https://127.0.0.1:9"
    ca = "{dir}/text.pem"
    """
    code, mistakes, warnings = check(tmp_path, text)
    assert (code, warnings) == (2, [])
    assert mistakes == [
        "the file in 'ca' can't be used: No such file or directory: none.pem @ peers.gone.ca",
        "the file in 'ca' can't be used: it holds no certificate in PEM: text.pem @ peers.text.ca",
    ]
