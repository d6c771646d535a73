"""`run`: what it reads, what it sends, and what it makes of an answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from click.testing import CliRunner

from llmsup.cli import main
from llmsup.cli.client import Client, Refused
from llmsup.cli.run.chat import Chat, Piece
from llmsup.cli.run.parameters import members, parameter
from llmsup.cli.run.prompt import read
from llmsup.cli.run.slash import Commands
from llmsup.cli.run.talk import talk
from llmsup.cli.run.writer import Wrap, Writer


class Engine(HTTPServer):
    """Answers as llmsup would: each chat with the next of its answers, events one after the other."""

    kind = "chat"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[Any] = []
        self.answers: list[list[Any]] = []
        self.more: dict[str, Any] = {}
        self.loads = 0
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        self._send(json.dumps({"kind": self.server.kind, **self.server.more}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/models/load":
            self.server.loads += 1
            self._send(json.dumps({"model": body["model"], "state": "ready"}).encode())
            return
        self.server.asked.append(body)
        events = self.server.answers.pop(0)
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        self._send(f": loading m 10s\n\n{text}data: [DONE]\n\n".encode())

    def _send(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- its base's name for it
        pass


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def event(**delta: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


FAILED = {"error": {"message": "The engine died.", "code": "engine_died", "log_tail": ["oh"]}}


def test_an_answer(engine: Engine) -> None:
    """The reasoning is told apart, and no part of what is said next."""
    usage = {"choices": [], "usage": {"completion_tokens": 3}}
    engine.answers = [[event(role="assistant"), event(reasoning_content="hm"), event(content="yes"), usage]]
    chat = Chat(Client(engine.url), "m", system="be short", parameters={"top_k": 1}, think=True)
    assert list(chat.ask("well?")) == [Piece("hm", thought=True), Piece("yes")]
    assert chat.messages == [{"role": "user", "content": "well?"}, {"role": "assistant", "content": "yes"}]
    assert chat.figures.usage == {"completion_tokens": 3}
    assert chat.figures.first_token is not None
    assert engine.asked == [
        {
            "model": "m", "stream": True, "stream_options": {"include_usage": True}, "top_k": 1,
            "messages": [{"role": "system", "content": "be short"}, {"role": "user", "content": "well?"}],
            "chat_template_kwargs": {"enable_thinking": True},
        }
    ]  # fmt: skip


def test_an_answer_that_ends_early(engine: Engine) -> None:
    """What has come of it stays said: two questions in a row are more than many templates take."""
    engine.answers = [[event(content="a"), event(content="b")], [event(content="a"), FAILED], [FAILED]]
    chat = Chat(Client(engine.url), "m")
    pieces = chat.ask("1")
    assert next(pieces) == Piece("a")
    pieces.close()
    said = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "a"}]
    assert chat.messages == said
    for said_again in (True, False):
        with pytest.raises(Refused, match="The engine died"):
            list(chat.ask("2"))
        said += [{"role": "user", "content": "2"}, {"role": "assistant", "content": "a"}] if said_again else []
        assert chat.messages == said


def typed(*lines: str | type[BaseException]) -> Callable[[], str]:
    """A user's lines, or what the terminal raises instead; then Ctrl-D."""
    rest = iter(lines)

    def one(_prompt: str = "") -> str:
        line = next(rest, EOFError)
        if isinstance(line, str):
            return line
        raise line

    return lambda: read(one)


def talked(engine: Engine, *lines: str | type[BaseException]) -> Chat:
    chat = Chat(Client(engine.url), "m")
    writer = Writer(None)
    talk(chat, writer, Commands(chat, writer, verbose=False), typed(*lines))
    return chat


def test_a_talk(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    """An error is shown, and the talk goes on."""
    engine.answers = [[event(content="one")], [FAILED], [event(content="three")]]
    chat = talked(
        engine, "1", "2", "", "3", "/nonsense", "/clear", "/set system a b", '/set system """c', 'd"""', "/bye"
    )
    out, err = capsys.readouterr()
    assert "one\n" in out
    assert "three\n" in out
    assert "llmsup: The engine died.\n    oh\n" in err
    assert "There is no /nonsense" in out
    assert [len(asked["messages"]) for asked in engine.asked] == [1, 3, 3]
    assert (chat.messages, chat.system) == ([], "c\nd")


@pytest.mark.parametrize(
    ("lines", "questions"),
    [
        ((KeyboardInterrupt, KeyboardInterrupt, "1"), 0),
        ((KeyboardInterrupt, "1", KeyboardInterrupt, "2"), 2),
        ((EOFError, "1"), 0),
        (('"""1', KeyboardInterrupt, "2"), 1),
        (("/exit", "1"), 0),
    ],
)
def test_who_leaves(engine: Engine, lines: tuple[str | type[BaseException], ...], questions: int) -> None:
    """Ctrl-C twice in a row; once means another line."""
    engine.answers = [[event(content="x")] for _ in range(2)]
    talked(engine, *lines)
    assert len(engine.asked) == questions


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([" plain "], "plain"),
        (['"""one line"""'], "one line"),
        (['"""', "a", '"""'], "a"),
        (['"""a', "", 'b """ c', 'd"""  '], 'a\n\nb """ c\nd'),
        (['""""""'], ""),
        (['what does """ mean?'], 'what does """ mean?'),
        (['/set system """a', 'b"""'], "/set system a\nb"),
    ],
)
def test_lines(lines: list[str], said: str) -> None:
    assert typed(*lines)() == said


@pytest.mark.parametrize(
    ("name", "text", "sent"),
    [
        ("temperature", "0.7", {"temperature": 0.7}),
        ("temperature", "1", {"temperature": 1}),
        ("top_k", "40.0", {"top_k": 40}),
        ("num_predict", "9", {"n_predict": 9, "max_tokens": 9}),
        ("stop", '"a b" c', {"stop": ["a b", "c"]}),
        ("ignore_eos", "true", {"ignore_eos": True}),
        ("samplers", "top_k;temperature", {"samplers": "top_k;temperature"}),
    ],
)
def test_parameters(name: str, text: str, sent: dict[str, Any]) -> None:
    assert parameter(name, text) == sent
    assert members(name) == tuple(sent)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("tmperature", "1", "did you mean 'temperature'"),
        ("temperature", "hot", "temperature: expected a number"),
        ("top_p", "2", "top_p: must be 0 to 1"),
        ("num_ctx", "8192", "`ctx_size` in its config"),
        ("num_gpu", "1", "the config has n_gpu_layers"),
        ("stop", '"', "No closing quotation"),
    ],
)
def test_what_is_no_parameter(name: str, text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parameter(name, text)


def wrapped(text: str, width: int) -> str:
    wrap = Wrap(width)
    return "".join(map(wrap.feed, text)) + wrap.rest()


def test_words_are_not_broken() -> None:
    assert wrapped("one two three four", 9) == "one two \nthree \nfour"
    assert wrapped("exactly nine", 7) == "exactly\nnine"
    assert wrapped("a\nbc de", 4) == "a\nbc \nde"
    assert wrapped("加速器 模型", 4) == "加速\n器 \n模型"
    assert wrapped("averylongwordindeed x", 5) == "averylongwordindeed\nx"


def test_code_stays_as_it_is() -> None:
    text = "see:\n```\na long line of code\n```\nand more words"
    assert wrapped(text, 10) == "see:\n```\na long line of code\n```\nand more \nwords"


def test_reasoning_is_dimmed_on_a_terminal_and_left_out_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    pieces = [Piece("\nhm", thought=True), Piece(" so", thought=True), Piece("\n\nYes"), Piece(", I see")]
    for writer, shown in (
        (Writer(40), "\x1b[2mhm so\n\n\x1b[0mYes, I see\n"),
        (Writer(40, thoughts=False), "Yes, I see\n"),
        (Writer(None), "Yes, I see\n"),
    ):
        for piece in pieces:
            writer.piece(piece)
        writer.end()
        assert capsys.readouterr().out.replace("\x1b[0m\x1b[2m", "") == shown


def test_a_model_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    writer = Writer(80)
    writer.piece(Piece("a\x1b[2J\x07b\r\n1\u202f000 👩\u200d💻 \u202e\tc"))
    writer.end()
    assert capsys.readouterr().out == "a\\x1b[2J\\x07b\n1\u202f000 👩\u200d💻 \\u202e\tc\n"


# The command...


def run(engine: Engine, *words: str, text: str = "") -> Any:
    return CliRunner().invoke(main, ["run", "m", *words, "--url", engine.url], input=text)


def test_a_pipe_is_a_part_of_the_prompt(engine: Engine) -> None:
    engine.answers = [[event(reasoning_content="hm"), event(content="a\x1b")] for _ in range(3)]
    for words, text, said in (
        ((), " x\ny\n", "x\ny"),
        (("what", "is"), "", "what is"),
        (("is?",), "this\n", "this\n\nis?"),
    ):
        result = run(engine, *words, text=text)
        assert (result.exit_code, result.stdout) == (0, "a\x1b\n"), "a program gets what the model said, to the byte"
        assert engine.asked.pop()["messages"] == [{"role": "user", "content": said}]


def test_settings(engine: Engine) -> None:
    engine.answers = [[event(content="a")]]
    words = ("--set", "temperature=0", "--set", "num_predict=5", "--no-think", "--ttl", "2h", "--system", "s", "hi")
    assert run(engine, *words).exit_code == 0
    (asked,) = engine.asked
    assert (asked["temperature"], asked["max_tokens"], asked["ttl"]) == (0, 5, "2h")
    assert asked["chat_template_kwargs"] == {"enable_thinking": False}
    assert asked["messages"][0] == {"role": "system", "content": "s"}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "There is nothing to ask"),
        (("--set", "temperature", "hi"), "write it as NAME=VALUE"),
        (("--set", "tmp=1", "hi"), "unknown sampling parameter"),
        (("--ttl", "soon", "hi"), "is not a duration"),
    ],
)
def test_bad_usage(engine: Engine, words: tuple[str, ...], why: str) -> None:
    result = run(engine, *words)
    assert result.exit_code == 2
    assert why in result.stderr


@pytest.mark.parametrize(
    ("more", "loads"), [({}, 1), ({"peer": {"peers": ["studio"]}}, 0), ({"peers": ["studio"]}, 0), ({"peers": []}, 1)]
)
def test_what_a_peer_has_is_not_loaded_here_first(engine: Engine, more: dict[str, Any], loads: int) -> None:
    """A model that isn't here can't be; where one is that is here, too, the request decides."""
    engine.more, engine.answers = more, [[event(content="a")]]
    assert run(engine, "hi").stdout == "a\n"
    assert engine.loads == loads


def test_what_cannot_chat(engine: Engine) -> None:
    engine.kind = "embedding"
    result = run(engine, "hi")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "llmsup: m can't chat: its kind is embedding. `llmsup ls` shows those that can.\n"


def test_an_error_is_the_commands(engine: Engine) -> None:
    engine.answers = [[event(content="half"), FAILED]]
    result = run(engine, "hi")
    assert (result.exit_code, result.stdout) == (1, "half\n")
    assert result.stderr == "llmsup: The engine died.\n    oh\n"
