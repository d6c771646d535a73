"""Reading GGUF headers: what is in them, what is refused, and in what words."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import pytest
from gguf_files import TYPES, tiny_llama, write_gguf
from gguf_zoo import ZOO
from real_engines import smollm2

from llmsup.catalog.gguf import window as gguf_window
from llmsup.catalog.gguf.reader import BadGguf, Tensor, read_header
from llmsup.catalog.gguf.types import BLOCKS
from llmsup.units import Bytes


def raw(tmp_path: Path, *parts: bytes, size: int = 0) -> Path:
    """A file with just these bytes, and a hole after them up to `size`."""
    path = tmp_path / "raw.gguf"
    path.write_bytes(b"".join(parts))
    if size:
        os.truncate(path, size)
    return path


def start(tensors: int = 0, keys: int = 0, *, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def refused(path: Path) -> str:
    with pytest.raises(BadGguf) as caught:
        read_header(path)
    assert str(caught.value) == caught.value.reason
    return caught.value.reason


METADATA: dict[str, Any] = {
    "general.architecture": "llama",
    "yes": True,
    "negative": -7,
    "large": 2**40,
    "half": 0.5,
    "flags": [True, False],
    "numbers": [1, 2, 3],
    "words": ["a", "ü", "😀"],
    "none": [],
}


@pytest.mark.parametrize(("version", "big_endian"), [(2, False), (3, False), (3, True)])
def test_all_kinds_of_values(tmp_path: Path, version: int, big_endian: bool) -> None:
    """Both versions and both byte orders say the same."""
    tensors = [("token_embd.weight", (256, 3), "F16"), ("blk.0.attn_q.weight", (256, 256), "Q4_K")]
    path = write_gguf(tmp_path / "m.gguf", METADATA, tensors, version=version, big_endian=big_endian)
    header = read_header(path)
    assert (header.version, header.big_endian) == (version, big_endian)
    assert header.metadata == {key: tuple(v) if isinstance(v, list) else v for key, v in METADATA.items()}
    assert header.counts == {"flags": 2, "numbers": 3, "words": 3, "none": 0}
    assert header.tensors == (
        Tensor("token_embd.weight", (256, 3), "F16", Bytes(1536)),
        Tensor("blk.0.attn_q.weight", (256, 256), "Q4_K", Bytes(36864)),
    )


def test_the_real_demo_model() -> None:
    """A file that another program wrote."""
    path = smollm2()
    header = read_header(path)
    assert header.metadata["general.architecture"] == "llama"
    assert header.metadata["llama.block_count"] == 30
    assert header.metadata["llama.context_length"] == 8192
    assert header.counts["tokenizer.ggml.tokens"] == 49152
    assert header.counts["tokenizer.ggml.merges"] == 48900
    assert "tokenizer.ggml.tokens" not in header.metadata
    assert str(header.metadata["tokenizer.chat_template"]).startswith("{% for message in messages %}")
    assert len(header.tensors) == 272
    # 30 layers of two norms and seven matrices, the embedding and the last norm, by hand from the model's card.
    kv, ff = 576 * 192, 576 * 1536
    assert sum(t.bytes for t in header.tensors if t.type == "F32") == (2 * 30 + 1) * 576 * 4
    matrices = sum(t.shape[0] * t.shape[1] for t in header.tensors if t.name.startswith("blk.") and len(t.shape) == 2)
    assert matrices == 30 * (2 * 576 * 576 + 2 * kv + 3 * ff)
    # The file is its header, and its tensors to the last byte.
    assert 0 < path.stat().st_size - sum(t.bytes for t in header.tensors) < 2 << 20


@pytest.mark.parametrize("type_", [name for name in TYPES if not name.startswith("type ")])
def test_bytes_of_a_type(tmp_path: Path, type_: str) -> None:
    """The writer's table of the types' blocks was typed independently of the reader's."""
    number, block, size = TYPES[type_]
    path = write_gguf(tmp_path / "m.gguf", {}, [("t", (1024, 3), type_)])
    (tensor,) = read_header(path).tensors
    assert (tensor.type, tensor.bytes) == (type_, 3 * 1024 // block * size)
    assert BLOCKS[number] == (type_, block, size)


def test_every_type_has_whole_bits_for_its_elements() -> None:
    """A number that was mistyped would stand out."""
    for name, block, size in BLOCKS.values():
        bits = size * 8 / block
        assert 1 < bits <= 64
        digits = "".join(char for char in name.split("_")[0] if char.isdigit())
        assert int(digits) <= bits <= 1.8 * int(digits), name


def test_a_type_that_nobody_knows_takes_what_is_up_to_the_next_tensor(tmp_path: Path) -> None:
    """New types come every year; all else in the file is as good as ever."""
    tensors = [("a", (64,), "F32"), ("b", (128,), "type 77"), ("c", (64,), "F32"), ("d", (128,), "type 77")]
    path = write_gguf(tmp_path / "m.gguf", {}, tensors)
    assert [(t.name, t.type, t.bytes) for t in read_header(path).tensors] == [
        ("a", "F32", 256), ("b", "type 77", 96), ("c", "F32", 256), ("d", "type 77", 96)]  # fmt: skip


def test_long_values_are_cut_or_counted(tmp_path: Path) -> None:
    """A vocabulary, a licence and an endless chat template cost no memory."""
    metadata = {
        "tokenizer.ggml.tokens": [f"token{i}" for i in range(1000)],
        "tokenizer.ggml.scores": [0.25] * 1025,
        "layers": list(range(1024)),
        "general.license.text": "x" * 100_000,
        "tokenizer.chat_template": "y" * 100_000,
        "after": 1,
    }
    header = read_header(write_gguf(tmp_path / "m.gguf", metadata))
    assert header.counts == {"tokenizer.ggml.tokens": 1000, "tokenizer.ggml.scores": 1025, "layers": 1024}
    assert header.metadata == {
        "layers": tuple(range(1024)),
        "general.license.text": "x" * (64 << 10),
        "tokenizer.chat_template": "y" * 100_000,
        "after": 1,
    }


@pytest.mark.parametrize("window", [1, 7, 64, 1000])
def test_windows_may_end_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    """What is read does not depend on how much is read at once."""
    path = ZOO["gemma3n"].write(tmp_path / "m.gguf", vocabulary=200)
    whole = read_header(path)
    monkeypatch.setattr(gguf_window, "WINDOW", window)
    assert read_header(path) == whole


def test_duplicate_keys_and_broken_text_are_survived(tmp_path: Path) -> None:
    """llama.cpp may refuse them; the catalog need not."""
    pairs = text(b"k") + struct.pack("<II", 4, 1) + text(b"k") + struct.pack("<II", 4, 2)
    odd = text(b"\xff\x00\x1b[2J") + struct.pack("<I", 8) + text(b"\xc3(\x00")
    header = read_header(raw(tmp_path, start(0, 3), pairs, odd))
    assert header.metadata == {"k": 2, "�\x00\x1b[2J": "�(\x00"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"GG", "it is not a GGUF: it begins with b'GG'"),
        (b"version https://git-lfs", "it is not a GGUF: it begins with b'vers'"),
        (b"GGUF\x03\0", "it ends within its start"),
        (start()[:-1], "it ends within its start"),
        (start(version=0), "it is GGUF version 0, and only 2 and 3 are known"),
        (start(version=1), "it is GGUF version 1, which llama.cpp reads no longer"),
        (start(version=4), "it is GGUF version 4, and only 2 and 3 are known"),
        (start(0, 1), "it ends within its metadata"),
        (start(0, 2**40), "it claims 1099511627776 keys, and no model has more than 16384"),
        (start(2**63), "it claims 9223372036854775808 tensors, and no model has more than 32768"),
        (start(0, 1) + struct.pack("<Q", 3_300_000_000) + bytes(50), "a string of 3.1 GiB does not fit the file"),
        (start(0, 1) + struct.pack("<Q", 60) + bytes(50), "it ends within its metadata"),
        (start(0, 1) + text(b"k") + struct.pack("<I", 13), "its key 'k' is of the unknown type 13"),
        (start(0, 1) + text(b"k") + struct.pack("<IIQ", 9, 9, 1), "its key 'k' holds an array of arrays"),
        (start(0, 1) + text(b"k") + struct.pack("<IIQ", 9, 77, 1), "its key 'k' is of the unknown type 77"),
        (start(0, 1) + text(b"k") + struct.pack("<IIQ", 9, 4, 2**60), "it ends within its metadata"),
        (start(0, 1) + text(b"k") + struct.pack("<IIQ", 9, 8, 2**40),
         "its key 'k' claims 1099511627776 strings, and no vocabulary is as large"),
        (start(0, 1) + text(b"k") + struct.pack("<IIQ", 9, 8, 2000) + text(b"a") * 1000, "it ends within its metadata"),
        (start(0, 1) + text(b"k") + struct.pack("<IIQQ", 9, 8, 2000, 2**64 - 1), "it ends within its metadata"),
        (start(1), "it ends within its tensor table"),
        (start(1) + text(b"t") + struct.pack("<I", 5) + bytes(99), "its tensor 't' has 5 dimensions"),
        (start(1) + text(b"t") + struct.pack("<IQQIQ", 2, 2**32, 2**31, 0, 0),
         "its tensor 't' is larger than any file"),
        (start(1) + text(b"t") + struct.pack("<IQIQ", 1, 2**18, 0, 0), "it is cut short: 57 B of 1.0 MiB are there"),
        (start(1) + text(b"t") + struct.pack("<IQIQ", 1, 2, 0, 0), "it is cut short: 57 B of 72 B are there"),
        (start(1, 1) + text(b"general.alignment") + struct.pack("<II", 4, 24) + bytes(99),
         "its general.alignment is '24' instead of a power of two"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    """Each in words that end the sentence "left out: ..."."""
    assert refused(raw(tmp_path, data)) == reason


def test_a_download_that_broke_off(tmp_path: Path) -> None:
    """One byte is missing, and both sizes would be rounded to the same."""
    path = write_gguf(tmp_path / "m.gguf", {}, [("t", (1 << 20,), "F32")])
    size = path.stat().st_size
    os.truncate(path, size - 1)
    why = refused(path)
    assert "cut short" in why
    assert f"{size - 1} of {size} bytes" in why


def test_padding_after_the_last_tensor_may_be_missing(tmp_path: Path) -> None:
    """Some programs write it, others don't."""
    path = write_gguf(tmp_path / "m.gguf", {}, [("t", (3,), "F32")])
    os.truncate(path, path.stat().st_size - 20)
    assert read_header(path).tensors[0].bytes == 12


def test_alignment_moves_the_data(tmp_path: Path) -> None:
    """The same file with the larger alignment ends later."""
    path = write_gguf(tmp_path / "m.gguf", {"general.alignment": 4096}, [("t", (3,), "F32")], alignment=4096)
    assert read_header(path).tensors[0].bytes == 12
    os.truncate(path, 4096 + 11)
    assert "4107 of 4108 bytes" in refused(path)


@pytest.mark.parametrize("kind", ["pipe", "directory"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    """Opening a named pipe without a writer would wait for ever."""
    path = tmp_path / "odd.gguf"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    assert refused(path) == "it is not a regular file"


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    """It is not a bad GGUF."""
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "gone.gguf")


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends earlier than it said when it was opened."""
    path = tiny_llama(tmp_path / "m.gguf")
    pread = os.pread

    def shrink(file: int, length: int, offset: int) -> bytes:
        return pread(file, min(length, 300 - offset) if offset < 300 else 0, offset)

    monkeypatch.setattr(os, "pread", shrink)
    assert refused(path) == "it ends within its metadata"
