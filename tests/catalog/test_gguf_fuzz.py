"""Files that lie: the answer is a header or a reason, soon, and with little memory."""

from __future__ import annotations

import os
import random
import shutil
import struct
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from gguf_files import tiny_llama
from hypothesis import given, settings
from hypothesis import strategies as st
from real_engines import smollm2

from llmsup.catalog.gguf.reader import BadGguf, Header, read_header
from llmsup.catalog.gguf.summary import summarise

MIB = 1 << 20


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """A file to write to; hypothesis and pytest's own do not go together."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory, "fuzzed.gguf")


@pytest.fixture(scope="module")
def head() -> bytes:
    """The real demo model's header: 2 MiB with the beginning of the data."""
    with smollm2().open("rb") as file:
        return file.read(2 * MIB)


def outcome(path: Path) -> Header | str:
    """What comes of it; anything but these two fails the test. What can be read can also be summarised."""
    try:
        header = read_header(path)
    except BadGguf as bad:
        return bad.reason
    summarise(header, path.stat().st_size, file_name=path.name)
    return header


@given(st.binary(max_size=400), st.sampled_from([b"", b"GGUF", b"GGUF\3\0\0\0", b"GGUF\0\0\0\3"]))
def test_arbitrary_bytes(scratch: Path, data: bytes, magic: bytes) -> None:
    """Also after a magic that makes them look right."""
    scratch.write_bytes(magic + data)
    outcome(scratch)


@given(st.data())
def test_arbitrary_keys_and_tensors(scratch: Path, data: st.DataObject) -> None:
    """Right up to the counts, wrong from there on."""
    number = st.integers(0, 20) | st.sampled_from([2**31, 2**32 - 1])
    long = st.integers(0, 100) | st.sampled_from([2**31, 2**40, 2**63 - 1, 2**63, 2**64 - 1])
    pieces = [b"GGUF\3\0\0\0", struct.pack("<QQ", data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3)))]
    for kind in data.draw(st.lists(st.sampled_from(["number", "long", "text", "bytes"]), max_size=20)):
        match kind:
            case "number":
                pieces.append(struct.pack("<I", data.draw(number)))
            case "long":
                pieces.append(struct.pack("<Q", data.draw(long)))
            case "text":
                value = data.draw(st.binary(max_size=12))
                pieces.append(struct.pack("<Q", len(value)) + value)
            case "bytes":
                pieces.append(data.draw(st.binary(max_size=12)))
    scratch.write_bytes(b"".join(pieces))
    outcome(scratch)


@pytest.mark.slow
def test_cut_off_anywhere(tmp_path: Path) -> None:
    """Of a whole small file, every beginning is refused, and only the whole is taken."""
    path = tiny_llama(tmp_path / "m.gguf")
    size, whole = path.stat().st_size, read_header(path)
    for length in reversed(range(size)):
        os.truncate(path, length)
        reason = outcome(path)
        assert isinstance(reason, str), length
        assert reason.startswith(
            ("it ends within its ", "it is cut short: ", "it is empty", "it is not", "a string of")
        )
    tiny_llama(path)
    assert outcome(path) == whole


@settings(max_examples=200)
@given(st.data())
def test_flipped_bits(scratch: Path, data: st.DataObject) -> None:
    """In a small file every byte matters."""
    content = bytearray(tiny_llama(scratch).read_bytes())
    for at in data.draw(st.lists(st.integers(0, 900), min_size=1, max_size=4)):
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    scratch.write_bytes(content)
    outcome(scratch)


def test_a_real_header_that_was_damaged(scratch: Path, head: bytes) -> None:
    """Flipped bits and cuts in the demo model's own, in a file that is as long as the real one."""
    chance = random.Random(4)  # noqa: S311 - the same damages in each run
    size = smollm2().stat().st_size
    scratch.write_bytes(head)
    os.truncate(scratch, size)
    assert outcome(scratch) == read_header(smollm2())
    outcomes = set()
    for _ in range(60):
        damaged = bytearray(head)
        # Half of them where lengths and types stand close together, at the start and in the tensor table.
        for _ in range(chance.randint(1, 3)):
            at = chance.choice(
                [chance.randrange(2500), chance.randrange(len(head)), chance.randrange(1_764_000, 1_786_000)]
            )
            damaged[at] = chance.randrange(256)
        scratch.write_bytes(damaged[: chance.choice([len(head), len(head), chance.randrange(len(head))])])
        os.truncate(scratch, size)
        outcomes.add(type(outcome(scratch)))
    assert outcomes == {Header, str}


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def key(number: int, kind: int, value: bytes) -> bytes:
    return text(b"a.%d" % number) + struct.pack("<I", kind) + value


def tensors(count: int, name: bytes) -> bytes:
    return b"".join(text(b"%05d" % i + name) + struct.pack("<IQQQQIQ", 4, 1, 1, 1, 1, 0, 0) for i in range(count))


def hostile() -> dict[str, bytes]:
    """Files' beginnings; the files are 100 GB long with holes, so that no length is too long for them."""

    def start(tensors: int, keys: int) -> bytes:
        return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys)

    def array(kind: int, length: int) -> bytes:
        return struct.pack("<IQ", kind, length)

    string = struct.pack("<Q", 90_000_000_000)
    return {
        "zeros": start(0, 16_384),
        "a huge key": start(0, 1) + string,
        "a huge string": start(0, 2) + key(0, 8, string),
        "a huge string in an array": start(0, 2) + key(0, 9, array(8, 1000) + string),
        "huge strings one after the other": start(0, 2) + key(0, 9, array(8, 100)) + string,
        "2^40 strings": start(0, 1) + key(0, 9, array(8, 2**40)),
        "a million empty strings": start(0, 1) + key(0, 9, array(8, 1_000_000)),
        "too many strings in several arrays": start(0, 2) + key(0, 9, array(8, 1000)) + bytes(8000)
        + key(1, 9, array(8, 4 << 20)),
        "strings of a window each": start(0, 1) + key(0, 9, array(8, 1000))
        + (struct.pack("<Q", MIB) + bytes(MIB)) * 40 + string,
        "numbers without end": start(0, 2) + key(0, 9, array(4, 20_000_000_000)),
        "many numbers to keep": start(0, 9000) + b"".join(
            key(i, 9, array(0, 1024) + bytes(range(256)) * 4) for i in range(9000)),
        "many strings to keep": start(0, 2000) + b"".join(
            key(i, 8, text("😀".encode() + b"a" * 30_000)) for i in range(500)),
        "long keys": start(0, 2000) + b"".join(
            text(b"%d" % i + b"k" * 60_000) + struct.pack("<II", 4, 1) for i in range(500)),
        "all tensors that are allowed": start(32_768, 0) + tensors(32_768, b"t" * 50),
        "tensors with long names": start(32_768, 0) + tensors(20_000, b"\xf0\x9f\x98\x80" + b"t" * 1000),
        "tensors all over each other": start(2, 0) + b"".join(
            text(b"t") + struct.pack("<IQIQ", 1, 2**34, 0, 0) for _ in range(2)),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", hostile())
def test_hostile_files(scratch: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little memory whatever they say, and no more read than the longest header has."""
    scratch.write_bytes(hostile()[name])
    os.truncate(scratch, 100_000_000_000)
    read = 0
    pread = os.pread

    def counted(file: int, length: int, offset: int) -> bytes:
        nonlocal read
        data = pread(file, length, offset)
        read += len(data)
        return data

    monkeypatch.setattr(os, "pread", counted)
    tracemalloc.start()
    try:
        result = outcome(scratch)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * MIB
    assert read < 260 * MIB
    taken = {"zeros", "a million empty strings", "tensors all over each other"}
    assert isinstance(result, Header) == (name in taken)


def test_files_of_one_repeated_byte(scratch: Path) -> None:
    """After a right start, all lengths are the same absurd number."""
    for byte in range(256):
        scratch.write_bytes(b"GGUF\3\0\0\0" + struct.pack("<QQ", 5, 5) + bytes([byte]) * 2000)
        outcome(scratch)


def test_the_demo_models_header_alone_is_cut_short(scratch: Path) -> None:
    """A download that broke off at once, as the person reads it."""
    with smollm2().open("rb") as source, scratch.open("wb") as sink:
        shutil.copyfileobj(source, sink)
    os.truncate(scratch, 2 * MIB)
    assert "cut short: 2.0 MiB of 93.8 MiB" in str(outcome(scratch))
