"""Each thing that gives a saved slot its meaning changes the fingerprint, by itself; what doesn't, doesn't."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from llmsup.prompt_cache.fingerprint import SAMPLE, Fingerprint, Told, differences, fingerprint


class Engine:
    """An engine with files of every kind."""

    def __init__(self, base: Path) -> None:
        self.base = base
        for name in ("bin/llama-server", "bin/libllama.so", "lib/libggml-base.so"):
            (base / name).parent.mkdir(exist_ok=True)
            (base / name).write_bytes(b"program")
        names = ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "lora.gguf", "mmproj.gguf", "t.jinja", "v.gguf")
        for name in names:
            (base / name).write_bytes(name.encode() * 20_000)
        self.argv = [
            *(str(base / "bin/llama-server"), "--model", str(base / names[0]), "--host", "/run/1.sock"),
            *("--alias", "m", "--slot-save-path", "/x/1/", "--ctx-size", "4096", "--threads", "4"),
            *("--lora-scaled", f"{base / 'lora.gguf'}:0.5", "--mmproj", str(base / "mmproj.gguf")),
            *("--chat-template-file", str(base / "t.jinja"), "--control-vector", str(base / "v.gguf")),
            *("--rpc", "127.0.0.1:4001", "-ctk", "f16", "--flash-attn", "on", "--rope-scale", "2"),
        ]
        self.env = {"LLAMA_ARG_SWA_FULL": "0", "HOME": "/root", "LLAMA_SERVER_ROUTER_PORT": "1"}
        self.build = "b10068"
        self.told = Told("b1-571d0d5", 4096, "{{ messages }}")

    def print(self) -> Fingerprint:
        return fingerprint(self.argv, self.env, self.build, self.told)

    def put(self, flag: str, value: str) -> None:
        self.argv[self.argv.index(flag) + 1] = value


def rewrite(name: str, at: int = 0) -> Callable[[Engine], None]:
    """The same size, the same time, the same inode; other bytes."""

    def change(engine: Engine) -> None:
        path = engine.base / name
        stat = path.stat()
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        with path.open("r+b") as file:
            file.write(data)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    return change


def touch(name: str) -> Callable[[Engine], None]:
    return lambda engine: os.utime(engine.base / name, ns=(1, 1))


def replace(name: str) -> Callable[[Engine], None]:
    """By a copy with the same bytes and time."""

    def change(engine: Engine) -> None:
        path = engine.base / name
        stat, data = path.stat(), path.read_bytes()
        new = path.with_name("new")
        new.write_bytes(data)
        os.utime(new, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        new.rename(path)

    return change


def grow(name: str) -> Callable[[Engine], None]:
    def change(engine: Engine) -> None:
        path = engine.base / name
        stat = path.stat()
        with path.open("ab") as file:
            file.write(b"x")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    return change


def flag(name: str, value: str) -> Callable[[Engine], None]:
    return lambda engine: engine.put(name, value)


def add(*words: str) -> Callable[[Engine], None]:
    return lambda engine: engine.argv.extend(words)


def told(**change: Any) -> Callable[[Engine], None]:
    def do(engine: Engine) -> None:
        engine.told = evolve(engine.told, **change)

    return do


def env(name: str, value: str) -> Callable[[Engine], None]:
    return lambda engine: engine.env.update({name: value})


def scale(engine: Engine) -> None:
    engine.put("--lora-scaled", f"{engine.base / 'lora.gguf'}:0.7")


def rebuild(engine: Engine) -> None:
    engine.build = "b10069"


CHANGES: list[tuple[str, Callable[[Engine], None], str]] = [
    ("model header", rewrite("m-00001-of-00002.gguf", 10), "files"),
    ("model end", rewrite("m-00001-of-00002.gguf", -1), "files"),
    ("model time", touch("m-00001-of-00002.gguf"), "files"),
    ("model size", grow("m-00001-of-00002.gguf"), "files"),
    ("model inode", replace("m-00001-of-00002.gguf"), "files"),
    ("second part", rewrite("m-00002-of-00002.gguf"), "files"),
    ("lora", rewrite("lora.gguf"), "files"),
    ("projector", rewrite("mmproj.gguf"), "files"),
    ("template file", rewrite("t.jinja"), "files"),
    ("control vector", rewrite("v.gguf"), "files"),
    ("lora scale", scale, "arguments"),
    ("K type", flag("-ctk", "q8_0"), "arguments"),
    ("V type", add("-ctv", "q8_0"), "arguments"),
    ("flash attention", flag("--flash-attn", "off"), "arguments"),
    ("swa-full", add("--swa-full"), "arguments"),
    ("rope", flag("--rope-scale", "4"), "arguments"),
    ("context", flag("--ctx-size", "8192"), "arguments"),
    ("layers on the GPU", add("-ngl", "0"), "arguments"),
    ("another worker", flag("--rpc", "127.0.0.1:4001,127.0.0.1:4002"), "arguments"),
    ("environment", env("LLAMA_ARG_SWA_FULL", "1"), "environment"),
    ("device", env("CUDA_VISIBLE_DEVICES", "1"), "environment"),
    ("build", rebuild, "build"),
    ("build told", told(build="b2"), "build"),
    ("library beside it", grow("bin/libllama.so"), "build"),
    ("library in lib", touch("lib/libggml-base.so"), "build"),
    ("context of a slot", told(context=2048), "context"),
    ("chat template", told(template="{{ m }}"), "template"),
    ("adapters", told(adapters=1), "template"),
]


@pytest.mark.parametrize(("what", "change", "part"), CHANGES, ids=[each[0] for each in CHANGES])
def test_each_changed_alone(tmp_path: Path, what: str, change: Callable[[Engine], None], part: str) -> None:
    engine = Engine(tmp_path)
    before = engine.print()
    assert differences(before, engine.print()) == []
    change(engine)
    assert differences(before, engine.print()) == [part], what


def moved(engine: Engine) -> None:
    """A file has another name now: it is the same file."""
    (engine.base / "mmproj.gguf").rename(engine.base / "renamed.gguf")
    engine.put("--mmproj", str(engine.base / "renamed.gguf"))


@pytest.mark.parametrize(
    "change",
    [
        flag("--host", "/run/2.sock"),
        flag("--alias", "n"),
        flag("--slot-save-path", "/x/2/"),
        flag("--threads", "2"),
        flag("--rpc", "127.0.0.1:4009"),
        env("HOME", "/home/x"),
        env("LLAMA_SERVER_ROUTER_PORT", "2"),
        add("--offline"),
        add("--no-mmap"),
        add("--load-mode", "dio"),
        moved,
    ],
)
def test_what_differs_at_each_start(tmp_path: Path, change: Callable[[Engine], None]) -> None:
    engine = Engine(tmp_path)
    before = engine.print()
    change(engine)
    assert differences(before, engine.print()) == []


def test_a_change_in_the_middle_is_seen_by_its_time(tmp_path: Path) -> None:
    """A whole model isn't read for that: `SAMPLE` bytes at both ends are."""
    engine = Engine(tmp_path)
    path = engine.base / "m-00001-of-00002.gguf"
    assert path.stat().st_size > 3 * SAMPLE
    before = engine.print()
    with path.open("r+b") as file:
        file.seek(SAMPLE + 100)
        file.write(b"other")
    os.utime(path)
    assert differences(before, engine.print()) == ["files"]


def test_a_part_that_is_missing_differs(tmp_path: Path) -> None:
    """A manifest of another version of llmsup, say."""
    whole = Engine(tmp_path).print()
    assert differences({}, whole) == differences(whole, {}) == list(whole)
    assert differences({}, {}) == list(whole)
