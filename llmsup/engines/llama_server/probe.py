"""What a llama-server binary understands: every flag its `--help` names, asked once per binary.

It does not know what the flags are for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import trio
from attrs import Factory, define, field, frozen

from ...errors import SetupError
from ...process.inheritance import Inheritance
from ...process.programs import last_lines, run
from ...units import Bytes, Seconds
from .flags import Dialect

# The column of descriptions is far to the right, and some of its lines begin with a dash too.
_HEAD = re.compile(r" {0,4}(?=-)")
_MOST = Bytes(4 * 1024**2)  # a help text has some 20 KB, and backends announce themselves at length
_FLAG = re.compile(r"(--?[A-Za-z][\w.-]*)(\s*,)?\s*")
_COLUMN = 40
_VALUE = re.compile(r"(?<=[\w.-]) (?=\S)")


def parse_flags(help_text: str) -> frozenset[str]:
    """Every spelling of every flag in a help text, with its dashes."""
    return frozenset().union(*(names for names, _ in _flags(help_text)))


def parse_valued(help_text: str) -> frozenset[str]:
    """Those of them that want a word behind them: "--ctx-size N"."""
    return frozenset().union(*(names for names, valued in _flags(help_text) if valued))


def _flags(help_text: str) -> Iterator[tuple[tuple[str, ...], bool]]:
    """The spellings of each flag, and whether it wants a value."""
    spellings: list[str] = []
    goes_on = False  # the line before ended in a comma within its list of spellings
    for line in help_text.splitlines():
        head = _HEAD.match(line)
        if not head and not (goes_on and line.lstrip().startswith("-")):
            goes_on = False
            continue
        if head and not goes_on:
            spellings = []
        position, end = len(line) - len(line.lstrip()), len(line.rstrip())
        goes_on = True
        while goes_on and (match := _FLAG.match(line, position)):
            spellings.append(match[1])
            position = match.end()
            goes_on = match[2] is not None
        goes_on = goes_on and position >= end
        # Its value stands right behind it, and what it does in a column of its own, or in the next line.
        yield tuple(spellings), position != _COLUMN and bool(_VALUE.match(line, position - 1))


@frozen
class _Binary:
    """One state of one file: a llama-server that was upgraded in place is another."""

    path: Path
    size: int
    mtime_ns: int


@define
class _Entry:
    lock: trio.Lock = Factory(trio.Lock)  # whoever asks meanwhile waits for the run that is under way
    dialect: Dialect | None = None
    version: str | None = None


@define
class Probe:
    """Asks binaries for their flags and their version, and remembers the answers.

    Attributes:
        timeout: Seconds that a binary may take to print its help. Cold GPU libraries take a while.
        inheritance: Their environment.
    """

    timeout: Seconds = Seconds(20)
    inheritance: Inheritance = Factory(Inheritance)
    _known: dict[_Binary, _Entry] = field(factory=dict, init=False, repr=False)

    async def dialect(self, binary: Path) -> Dialect:
        """The flags of a llama-server.

        Raises:
            SetupError: It can't be run, takes too long, or what it prints is no help text.
        """
        entry = await self._entry(binary)
        async with entry.lock:
            if entry.dialect is None:
                text = await self._run(binary, "--help")
                flags, valued = parse_flags(text), parse_valued(text)
                # Without these it may be any program; better said now than by a model that doesn't start.
                if not {"--model", "--host"} <= flags:
                    raise SetupError(
                        f"{binary} --help names no --model and --host: it is not a llama-server.{last_lines(text)}"
                    )
                entry.dialect = Dialect(flags, str(binary), valued)
            return entry.dialect

    async def version(self, binary: Path) -> str:
        """The first line of what `--version` prints: "version: 10068 (571d0d5)".

        Raises:
            SetupError: It can't be run, or takes too long.
        """
        entry = await self._entry(binary)
        async with entry.lock:
            if entry.version is None:
                lines = (await self._run(binary, "--version")).split("\n")
                # Backends announce themselves first on some machines.
                entry.version = next((line for line in lines if line.startswith("version")), lines[0]).strip()
            return entry.version

    async def _entry(self, binary: Path) -> _Entry:
        try:
            real = Path(await trio.Path(binary).resolve(strict=True))
            stat = await trio.Path(real).stat()
        except OSError as error:
            raise SetupError(f"{binary} can't be read: {error.strerror}.") from error
        return self._known.setdefault(_Binary(real, stat.st_size, stat.st_mtime_ns), _Entry())

    async def _run(self, binary: Path, flag: str) -> str:
        env = self.inheritance.environment()
        name = f"{binary} {flag}"
        output = await run((str(binary), flag), name=name, timeout=self.timeout, env=env, together=True, most=_MOST)
        return output.decode(errors="replace")
