"""Programs that are run for what they print."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llmsup.process.programs import ProgramFailed, last_lines, run, run_now
from llmsup.units import Bytes, Seconds

LONG = Seconds(60)


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", f"import os, sys; {code}")


async def test_what_it_prints_and_where() -> None:
    """The standard error is not part of it, unless that is wanted."""
    both = python("print('out', flush=True); print('err', file=sys.stderr, flush=True)")
    assert await run(both, name="p", timeout=LONG) == b"out\n"
    assert await run(both, name="p", timeout=LONG, together=True) == b"out\nerr\n"


async def test_its_surroundings_are_those_that_it_is_given(tmp_path: Path) -> None:
    code = python("print(os.getcwd(), sorted(os.environ))")
    said = await run(code, name="p", timeout=LONG, env={"LC_ALL": "C", "ONLY": "1"}, cwd=str(tmp_path))
    assert said.decode().startswith(f"{tmp_path} ")
    assert b"'ONLY'" in said
    assert b"PATH" not in said


@pytest.mark.parametrize(
    ("code", "told", "exit_code"),
    [
        ("print('why', file=sys.stderr); sys.exit(3)", "p failed with exit code 3. It said: why", 3),
        ("print('here'); sys.exit(3)", "p failed with exit code 3. It said: here", 3),
        ("os.kill(os.getpid(), 9)", "p was ended by signal 9.", -9),
        ("print('x' * 3000)", "p printed more than 2 KiB.", None),
    ],
)
async def test_failures(code: str, told: str, exit_code: int | None) -> None:
    """With what it said last."""
    with pytest.raises(ProgramFailed) as failed:
        await run(python(code), name="p", timeout=LONG, most=Bytes(2048))
    assert (failed.value.message, failed.value.exit_code, failed.value.missing) == (told, exit_code, False)


def test_one_that_is_not_there() -> None:
    with pytest.raises(ProgramFailed, match=r"p can't be run: No such file or directory\.") as failed:
        run_now(("/none/such",), name="p", timeout=LONG)
    assert failed.value.missing


def test_it_can_be_asked_from_outside_of_trio() -> None:
    assert run_now(python("print('\\u00fc'); print('x' * 200_000)"), name="p", timeout=LONG)[0] == "ü"


def test_the_last_lines() -> None:
    assert last_lines("a\n\n b \nc\nd\n") == " It said: b | c | d"
    assert last_lines(" \n") == ""
