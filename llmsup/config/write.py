"""TOML for people: tables in the given order, comments above keys, and files written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from attrs import Factory, define

from ..errors import SetupError
from ..process.atomic import write_atomic
from .wording import dotted

_WIDTH = 100


@define
class Table:
    """One table of a file.

    Attributes:
        name: The parts of its dotted name.
        above: The comments above its header, a paragraph each.
        lines: The lines below its header.
    """

    name: tuple[str, ...]
    above: list[str] = Factory(list)
    lines: list[str] = Factory(list)

    def put(self, key: str, value: Any, *comments: str) -> None:
        """Add a key with its comments above it."""
        self.say(*comments)
        self.lines += _entry(key, value).split("\n")

    def say(self, *comments: str) -> None:
        """Add comments, one paragraph per argument."""
        for paragraph in comments:
            self.lines += comment(paragraph)

    def text(self) -> str:
        """Return the table as it is written to a file."""
        above = [line for paragraph in self.above for line in comment(paragraph)]
        return "\n".join([*above, f"[{dotted_name(self.name)}]", *self.lines]) + "\n"


def document(header: Iterable[str], tables: Iterable[Table | str]) -> str:
    """Return a whole file: comment paragraphs, then the tables (or ready-made text), with a blank line before each."""
    head = "\n".join(line for paragraph in header for line in comment(paragraph))
    bodies = [part if isinstance(part, str) else part.text() for part in tables]
    return "\n".join([f"{head}\n", *bodies] if head else bodies)


def comment(paragraph: str) -> list[str]:
    """Return a paragraph as comment lines, wrapped if it is long.

    Indented lines are left alone, and lines that begin with "- " are wrapped as list items.
    """
    lines: list[str] = []
    for line in paragraph.split("\n"):
        plain = "".join(char if char.isprintable() else " " for char in line)
        indent = "  " if plain.startswith("- ") else ""
        wrapped = (
            [plain]
            if plain.startswith(" ")
            else textwrap.wrap(plain, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        )
        lines += [f"# {part}".rstrip() for part in wrapped or [""]]
    return lines


def commented_out(text: str, mark: str = "# ") -> str:
    """Comment out every line, so that removing the mark restores it."""
    return "".join(f"{mark}{line}".rstrip() + "\n" for line in text.removesuffix("\n").split("\n"))


def can_say(value: Any) -> bool:
    """Tell whether TOML can express a value: it has no null, and its integers have 64 bits."""
    if isinstance(value, bool | str | float):
        return True
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, dict):
        return all(isinstance(key, str) and can_say(item) for key, item in value.items())
    return isinstance(value, list | tuple) and all(map(can_say, value))


def dotted_name(name: Sequence[str]) -> str:
    """Return a table's name as its header spells it."""
    return ".".join(_key(step) for step in name)


def _key(name: str) -> str:
    plain = dotted((name,))
    return plain if plain == name else _scalar(name)


def _entry(key: str, value: Any) -> str:
    line = f"{_key(key)} = {_value(value)}"
    if isinstance(value, list | tuple) and len(line) > _WIDTH:
        rows = [""]
        for item in map(_value, value):
            if rows[-1] and len(rows[-1]) + len(item) > _WIDTH - 5:
                rows.append("")
            rows[-1] += f" {item}," if rows[-1] else f"{item},"
        return "\n".join([f"{_key(key)} = [", *(f"    {row}" for row in rows), "]"])
    return line


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{_key(str(key))} = {_value(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    return tomli_w.dumps({"x": value}).removeprefix("x = ").removesuffix("\n")


def write_whole(path: Path, text: str, *, force: bool, private: bool = False) -> None:
    """Write a file whole or not at all, creating its directories.

    Args:
        force: Replace an existing file. Without it an existing file is left untouched, even in a race.
        private: Make the file readable by its owner only, because it contains keys. Otherwise a replaced file keeps its
            mode.

    Raises:
        SetupError: The file already exists, or it can't be written.
    """
    if replaceable(path, force=force):
        path = Path(os.path.realpath(path))  # replace what a link points to, not the link
    try:
        write_atomic(path, text.encode(), private=private, replace=force)
    except FileExistsError as error:
        if path.parent.is_dir():
            raise _exists(path) from None
        raise SetupError(f"{path} can't be written: {error.filename} is a file, not a directory.") from None
    except OSError as error:
        raise SetupError(f"{path} can't be written: {error.strerror or error}.", hint=_remedy(error)) from error


def replaceable(path: Path, *, force: bool) -> os.stat_result | None:
    """Return the status of the file to be replaced, or None if there is none; calling this first avoids useless work.

    Raises:
        SetupError: There is a file that may not be replaced.
    """
    try:
        stat_ = path.stat()
    except OSError:  # writing will report the reason
        return None
    if stat.S_ISDIR(stat_.st_mode):
        raise SetupError(f"{path} is a directory.", hint=f"Name a file in it: {path / 'llmsup.toml'}")
    if not stat.S_ISREG(stat_.st_mode):
        raise SetupError(f"{path} is not a plain file.", hint="Write to standard output instead: --output -")
    if not force:
        raise _exists(path)
    return stat_


def _exists(path: Path) -> SetupError:
    return SetupError(f"{path} exists and was not changed.", hint="Add --force to replace it, or name another file.")


def _remedy(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Check the directory's permissions, or name another place."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Make room, or name another place; nothing was left behind."
    return "Name another place."
