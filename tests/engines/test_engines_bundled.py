"""The bundled engine: its command line, its agreement with xllamacpp, and one real run."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from real_engines import smollm2

from llmsup.engines.bundled import process as bundled
from llmsup.engines.bundled.flags import FLAGS, TABLE, apply
from llmsup.engines.bundled.parsers import Choice, expected, template_kwargs

REPOSITORY = Path(__file__).parents[2]


def run(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmsup.engines.bundled.process", *words],
        cwd=REPOSITORY,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "x", "--ctx-sise", "5"), "unknown flag --ctx-sise, did you mean --ctx-size?"),
        (("--model", "x", "--top-n-sigma", "1"), "unknown flag --top-n-sigma"),
        (("--model", "x", "--ctx-size"), "--ctx-size needs a value"),
        (("--model", "x", "--ctx-size", "many"), "--ctx-size many: not a whole number"),
        (("--model", "x", "--top-p", "much"), "--top-p much: not a number"),
        (("--model", "x", "-fa", "yes"), "-fa yes: not one of on, off, auto"),
        (("--model", "x", "--chat-template-kwargs", "[]"), "--chat-template-kwargs []: not a JSON object"),
        (("--port", "1"), "--model is missing"),
    ],
)
def test_a_command_line_that_can_not_be_followed(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(bundled.UsageError, match=re.escape(message)):
        bundled.read(words)


def test_a_command_line() -> None:
    words = "-m m.gguf --ctx_size 5 --no-warmup -ngl all --seed -1 --pooling cls --samplers top_k;min_p"
    values = {word: value for word, _, value in bundled.read(words.split())}
    assert values["-m"] == "m.gguf"
    assert values["--ctx_size"] == 5
    assert values["--no-warmup"] is False
    assert values["-ngl"] == -2
    assert values["--seed"] == 2**32 - 1
    assert values["--pooling"] == ("llama_pooling_type", "LLAMA_POOLING_TYPE_CLS")


def test_a_bad_flag_is_refused_in_one_line_before_any_engine_is_looked_for() -> None:
    code = (
        "import sys; sys.modules['xllamacpp'] = None\n"
        "from llmsup.engines.bundled.process import main; main(sys.argv[1:])"
    )
    for words, status, said in (
        (["--modle", "x"], 2, "llmsup bundled engine: unknown flag --modle, did you mean --model?\n"),
        (["--model", "x"], 1, "pip install 'llmsup[engine]'\n"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status
        assert done.stderr.endswith(said)
        assert done.stderr.count("\n") == 1


def test_the_table_needs_no_engine() -> None:
    code = "import sys, llmsup.engines.bundled.process; sys.exit('xllamacpp' in sys.modules or 'attrs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=60, check=False).returncode == 0
    assert not FLAGS & {"--top-n-sigma", "--top-nsigma", "--dry-sequence-breaker"}


def sample(flag: str) -> str:
    """Some value that a flag takes."""
    read = TABLE[flag].read
    if isinstance(read, Choice):
        return list(read.meanings)[-1]
    if read is template_kwargs:
        return '{"enable_thinking": false}'
    return {"a whole number": "3", "a number": "0.5"}.get(expected(read), "3") if read and read is not str else "top_k"


@pytest.mark.parametrize("flag", sorted(FLAGS))
def test_xllamacpp_has_what_the_table_says(flag: str) -> None:
    engine = pytest.importorskip("xllamacpp")
    params = engine.CommonParams()
    words = [flag] if TABLE[flag].read is None else [flag, sample(flag)]
    (_, entry, value), *_ = bundled.read([*words, "--model", "m"])
    apply(engine, params, entry, value)
    if isinstance(entry.place, str):
        owner: Any = params
        for step in entry.place.split("."):  # setting a misspelt attribute might not fail; reading it does
            owner = getattr(owner, step)
        if isinstance(value, float):
            assert owner == pytest.approx(value)
        elif isinstance(value, bool | int | str):
            assert owner == value


def test_flags_that_set_more_than_one_attribute() -> None:
    engine = pytest.importorskip("xllamacpp")
    params = engine.CommonParams()
    words = "-m m --host /x/y.sock --alias a/b@c --rerank --no-ui --top-k 7 --temp 0 -ctk q8_0 --flash-attn on"
    for _, flag, value in bundled.read([*words.split(), "--chat-template-kwargs", '{"a": false}', "--no-mmap"]):
        apply(engine, params, flag, value)
    assert getattr(params, "hostnames", None) == ["/x/y.sock"] or params.hostname == "/x/y.sock"
    assert params.model_alias == {"a/b@c"}
    assert params.embedding
    assert params.pooling_type == engine.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    assert params.cache_type_k == engine.ggml_type.GGML_TYPE_Q8_0
    assert params.default_template_kwargs == {"a": "false"}
    config = engine.common_params_sampling_config
    marked = config.COMMON_PARAMS_SAMPLING_CONFIG_TOP_K | config.COMMON_PARAMS_SAMPLING_CONFIG_TEMP
    assert params.sampling.user_sampling_config == marked


class Older:
    """The parameters of xllamacpp 2026.5, where they have other names."""

    hostname = ""
    webui = True
    use_mmap = True
    use_mlock = False


@pytest.mark.parametrize(
    ("words", "name", "expected"),
    [
        ("--host h", "hostname", "h"),
        ("--no-ui", "webui", False),
        ("--no-mmap", "use_mmap", False),
        ("--mlock", "use_mlock", True),
        ("--load-mode mmap+mlock", "use_mlock", True),
    ],
)
def test_an_older_xllamacpp(words: str, name: str, expected: object) -> None:
    params = Older()
    (_, flag, value), *_ = bundled.read([*words.split(), "--model", "m"])
    apply(None, params, flag, value)
    assert getattr(params, name) == expected


# --- real runs ------------------------------------------------------------------------------------------------------

needs_engine = pytest.mark.skipif(not importlib.util.find_spec("xllamacpp"), reason="xllamacpp is not installed")


class UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def ask(path: Path, method: str, url: str, body: object = None) -> tuple[int, Any]:
    connection = UnixConnection(path)
    try:
        connection.request(method, url, json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture
def short_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lls", dir="/tmp") as name:
        yield Path(name)


@needs_engine
def test_one_real_run(short_directory: Path) -> None:
    path = short_directory / "e.sock"
    words = f"--model {smollm2()} --host {path} --alias demo -c 2048 -t 1 --cache-ram 0 --top-k 7 --no-warmup".split()
    child = subprocess.Popen(
        [sys.executable, "-m", "llmsup.engines.bundled.process", *words],
        cwd=REPOSITORY,
        env={**os.environ, "LLMSUP_STDIN_GUARD": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        seen, deadline = set[int](), time.monotonic() + 60
        while 200 not in seen and time.monotonic() < deadline:
            assert child.poll() is None
            try:
                seen.add(ask(path, "GET", "/health")[0])
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.005)
        assert seen in ({200}, {200, 503})  # it answers while it loads
        status, answer = ask(path, "POST", "/completion", {"prompt": "1 2 3", "n_predict": 4, "top_n_sigma": 1.5})
        assert status == 200
        assert answer["tokens_predicted"] == 4
        assert answer["model"] == "demo"
        assert answer["generation_settings"]["top_k"] == 7
        assert answer["generation_settings"]["top_n_sigma"] == 1.5  # which can't be given at launch
        child.send_signal(signal.SIGTERM)
        assert child.wait(5) == -signal.SIGTERM
    finally:
        child.kill()
        child.communicate(timeout=10)


@needs_engine
def test_it_ends_when_its_standard_input_does(short_directory: Path) -> None:
    words = f"--model {smollm2()} --host {short_directory}/e.sock -c 512 --cache-ram 0 --no-warmup".split()
    done = run(*words, env={"LLMSUP_STDIN_GUARD": "1"})  # which is /dev/null here
    assert done.returncode == 1


@pytest.mark.real
@needs_engine
@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), (b"hello, world", "magic"), (b"GGUF\3\0\0\0", "failed to")]
)
def test_a_bad_file_is_refused_in_the_engines_own_words(
    short_directory: Path, content: bytes | None, said: str
) -> None:
    model = short_directory / "m.gguf"
    if content:
        model.write_bytes(content)
    done = run("--model", str(model), "--host", str(short_directory / "e.sock"))
    assert done.returncode == 1
    assert said in done.stderr
    # Somewhere: the engine writes its log from a thread of its own, a line in several pieces; ours may come between.
    assert "llmsup bundled engine: " in done.stderr


@needs_engine
def test_a_truncated_model_is_refused_in_the_engines_own_words(short_directory: Path) -> None:
    model = short_directory / "m.gguf"
    with smollm2().open("rb") as whole:
        model.write_bytes(whole.read(4_000_000))
    done = run("--model", str(model), "--host", str(short_directory / "e.sock"))
    assert done.returncode == 1
    assert "not within the file bounds" in done.stderr
