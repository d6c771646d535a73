"""What a llama-server binary understands: every flag in its `--help`, asked once per binary."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import trio
from attrs import Factory, define, field, frozen

from ...errors import SetupError
from ...process.inheritance import Inheritance
from ...process.programs import last_lines, run
from ...units import Bytes, Seconds
from ..devices import Device, list_devices
from .flags import FlagSet

# Descriptions are in a column far to the right, and some of their lines begin with a dash, too.
_HEAD = re.compile(r" {0,4}(?=-)")
_MOST = Bytes(4 * 1024**2)  # a help text is some 20 KB, and backends add long announcements
_FLAG = re.compile(r"(--?[A-Za-z][\w.-]*)(\s*,)?\s*")
_COLUMN = 40
_VALUE = re.compile(r"(?<=[\w.-]) (?=\S)")


def parse_flags(help_text: str) -> frozenset[str]:
    """Return every spelling of every flag in a help text, with its dashes."""
    return frozenset().union(*(names for names, _ in _flags(help_text)))


def parse_valued(help_text: str) -> frozenset[str]:
    """Return the spellings of the flags that take a value: "--ctx-size N"."""
    return frozenset().union(*(names for names, valued in _flags(help_text) if valued))


def _flags(help_text: str) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Yield the spellings of each flag, and whether it takes a value."""
    spellings: list[str] = []
    goes_on = False  # the previous line ended within a list of spellings, after a comma
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
        # The value directly follows the flag; the description is in its column or on the next line.
        yield tuple(spellings), position != _COLUMN and bool(_VALUE.match(line, position - 1))


@frozen
class _Binary:
    """One version of one file: a llama-server upgraded in place is a different binary."""

    path: Path
    size: int
    mtime_ns: int


@define
class _Entry:
    lock: trio.Lock = Factory(trio.Lock)  # concurrent callers wait for the run in progress
    flag_set: FlagSet | None = None
    version: str | None = None
    devices: dict[tuple[object, ...], tuple[Device, ...]] = Factory(dict)
    texts: dict[tuple[str, ...], str] = Factory(dict)


@define
class FlagProbe:
    """Asks binaries for their flags and their version, and caches the answers.

    Attributes:
        timeout: Seconds that a binary may take to print its help. Cold GPU libraries take a while.
        inheritance: What the binaries inherit: their environment.
    """

    timeout: Seconds = Seconds(20)
    inheritance: Inheritance = Factory(Inheritance)
    _known: dict[_Binary, _Entry] = field(factory=dict, init=False, repr=False)

    async def flag_set(self, binary: Path) -> FlagSet:
        """Return the flags of a llama-server.

        Raises:
            SetupError: It can't be run, takes too long, or doesn't print a help text.
        """
        entry = await self._entry(binary)
        async with entry.lock:
            if entry.flag_set is None:
                text = await self._run(binary, "--help")
                flags, valued = parse_flags(text), parse_valued(text)
                # Without these it is some other program; say so now, not when a model fails to start.
                if not {"--model", "--host"} <= flags:
                    raise SetupError(
                        f"{binary} --help names no --model and --host: it is not a llama-server.{last_lines(text)}"
                    )
                entry.flag_set = FlagSet(flags, str(binary), valued)
            return entry.flag_set

    async def version(self, binary: Path) -> str:
        """Return the first line that `--version` prints: "version: 10068 (571d0d5)".

        Raises:
            SetupError: It can't be run, or takes too long.
        """
        entry = await self._entry(binary)
        async with entry.lock:
            if entry.version is None:
                lines = (await self._run(binary, "--version")).split("\n")
                # On some machines backends print announcements first.
                entry.version = next((line for line in lines if line.startswith("version")), lines[0]).strip()
            return entry.version

    async def devices(self, program: tuple[str, ...], env: Mapping[str, str]) -> tuple[Device, ...]:
        """Return the devices that a program finds, by its `--list-devices`.

        Args:
            program: The binary, and arguments that come before all others.
            env: A model's own environment, which may hide devices or change their order.

        Raises:
            SetupError: It can't be run, failed, or takes too long.
        """
        entry, key = await self._entry(Path(program[0])), (program[1:], *sorted(env.items()))
        async with entry.lock:
            if key not in entry.devices:
                entry.devices[key] = await list_devices(
                    program, timeout=self.timeout, inheritance=self.inheritance, env=env
                )
            return entry.devices[key]

    async def text(self, program: tuple[str, ...], *words: str, timeout: Seconds) -> str:
        """Return what a program of another kind prints when it is started with these words; "" if it fails, which is
        remembered, too.

        Args:
            program: The binary, and arguments that come before all others.
            timeout: Seconds that it may take.

        Raises:
            SetupError: The binary can't be read.
        """
        entry, argv = await self._entry(Path(program[0])), (*program, *words)
        async with entry.lock:
            if argv not in entry.texts:
                env = self.inheritance.environment()
                try:
                    said = await run(argv, name=" ".join(argv), timeout=timeout, env=env, together=True, most=_MOST)
                except SetupError:
                    said = b""
                entry.texts[argv] = said.decode(errors="replace")
            return entry.texts[argv]

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
