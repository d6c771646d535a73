"""The user's own probe: what it may print, and what becomes of one that misbehaves."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from llmsup.errors import SetupError
from llmsup.memory.machine.probe import ProbeAnswer, ask, parse_answer
from llmsup.units import Bytes, Seconds


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"total": 100, "available": 7, "level": "warn"}', ProbeAnswer(Bytes(100), Bytes(7), "warn")),
        ('\n {"available": 0}\n\n', ProbeAnswer(available=Bytes(0))),
        ('{"level": "critical", "total": null}', ProbeAnswer(level="critical")),
    ],
)
def test_answers(text: str, answer: ProbeAnswer) -> None:
    """A key may be missing or null, which is unknown; 0 is 0."""
    assert parse_answer(text.encode()) == answer


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it printed nothing"),
        ("  \n", "it printed nothing"),
        ("12 GiB free", "'12 GiB free', which is not one JSON object"),
        ('{"total": 1}{"total": 1}', "which is not one JSON object"),
        ('{"total": 1', "which is not one JSON object"),
        ("[1]", "not an object: got a list"),
        ("{}", "it says nothing"),
        ('{"total": null, "available": null, "level": null}', "it says nothing"),
        ('{"total": "100"}', "\"total\" is a whole number of bytes, got a string '100'"),
        ('{"total": 1.5}', "got a number 1.5"),
        ('{"total": true}', "got true"),
        ('{"available": -1}', '"available" is a whole number of bytes, got a whole number -1'),
        ('{"total": 9223372036854775808}', '"total" is a whole number'),
        ('{"total": NaN}', "it printed NaN, which is not JSON"),
        ('{"level": "high"}', "\"level\" is one of normal, warn, critical, got a string 'high'"),
        ('{"level": ["warn"]}', "got a list"),
        ('{"total": 1, "availible": 1}', r"'availible' .* \(did you mean 'available'\?\)"),
        ('{"total": 1, "total": 2}', "it names a key twice"),
        ('{"total": 1, "available": 2}', '"available" is 2, more than "total", 1'),
        ("[" * 50_000, "nested"),
        ("\x00\xff", "which is not one JSON object"),
    ],
)
def test_what_is_no_answer(text: str, said: str) -> None:
    """Each is told as what it is."""
    with pytest.raises(ValueError, match=said):
        parse_answer(text.encode("latin-1"))


@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_any_bytes_are_refused_or_understood(data: bytes) -> None:
    """Nothing else is raised."""
    try:
        assert parse_answer(data) != ProbeAnswer()
    except ValueError:
        return


def python(source: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", source)


async def test_a_probe_that_works() -> None:
    """What it prints on standard error is its own affair."""
    source = 'import sys; sys.stderr.write("hm"); print(\'{"total": 100, "available": 7, "level": "normal"}\')'
    assert await ask(python(source)) == ProbeAnswer(Bytes(100), Bytes(7), "normal")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("print('rubbish')", "'rubbish"),
        ("raise SystemExit('no sensor')", "failed with exit code 1. It said: no sensor"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by signal 9."),
        ("while True: print('x' * 4096)", "printed more than 64 KiB."),
        ("import sys\nwhile True: sys.stderr.write('x' * 4096)", "printed more than 64 KiB."),
    ],
)
async def test_a_probe_that_fails(source: str, said: str) -> None:
    """The command is named, and what was wrong."""
    with pytest.raises(SetupError, match=r"\[memory\] probe .*python") as caught:
        await ask(python(source))
    assert said in str(caught.value)


async def test_a_probe_that_does_not_exist() -> None:
    """It is said as the system says it."""
    with pytest.raises(SetupError, match=r"probe /none/such can't be run: No such file"):
        await ask(("/none/such",))


async def test_a_probe_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    """Its time is bounded, and nobody is left behind."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # The grandchild holds the FIFO open for writing: its reader sees the end when that process is gone.
    script = f"sleep 1000 > {fifo} & exec sleep 1000"
    ended = trio.Event()

    async def watch() -> None:
        await trio.to_thread.run_sync(fifo.read_bytes)
        ended.set()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            with pytest.raises(SetupError, match=r"did not end within 0.3 s"):
                await ask(("/bin/sh", "-c", script), timeout=Seconds(0.3))
            await ended.wait()


async def test_what_a_probe_leaves_behind_does_not_hold_us_up() -> None:
    """It answered; that something it started still has its output open is no reason to wait for that."""
    with trio.fail_after(8):
        answer = await ask(("/bin/sh", "-c", "sleep 1000 & echo '{\"available\": 5}'"), timeout=Seconds(30))
    assert answer == ProbeAnswer(available=Bytes(5))


async def test_cancelling_ends_it() -> None:
    """Whoever asks may give up."""
    with trio.fail_after(8):
        with trio.move_on_after(0.2) as scope:
            await ask(("/bin/sleep", "1000"), timeout=Seconds(60))
    assert scope.cancelled_caught
