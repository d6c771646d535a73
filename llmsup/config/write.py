"""TOML for people: tables in the order given, comments above keys, and a file that is written whole or not at all.

It does not know what the tables say.
"""

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
        name: Its dotted name, in steps.
        above: What is said above its head, a paragraph each.
        lines: What stands in it.
    """

    name: tuple[str, ...]
    above: list[str] = Factory(list)
    lines: list[str] = Factory(list)

    def put(self, key: str, value: Any, *comments: str) -> None:
        """Add a key, under its comments."""
        self.say(*comments)
        self.lines += _entry(key, value).split("\n")

    def say(self, *comments: str) -> None:
        """Add comments, a paragraph each."""
        for paragraph in comments:
            self.lines += comment(paragraph)

    def text(self) -> str:
        """The table as it stands in a file."""
        above = [line for paragraph in self.above for line in comment(paragraph)]
        return "\n".join([*above, f"[{dotted_name(self.name)}]", *self.lines]) + "\n"


def document(header: Iterable[str], tables: Iterable[Table | str]) -> str:
    """A whole file: paragraphs of comment, then the tables (or what is text already), with a blank line before each."""
    head = "\n".join(line for paragraph in header for line in comment(paragraph))
    bodies = [part if isinstance(part, str) else part.text() for part in tables]
    return "\n".join([f"{head}\n", *bodies] if head else bodies)


def comment(paragraph: str) -> list[str]:
    """A paragraph as comment lines, wrapped where it is long; lines that are indented stay as they are, and those that
    begin with "- " are items of a list.
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
    """Every line as a comment, so that taking away the mark gives it back."""
    return "".join(f"{mark}{line}".rstrip() + "\n" for line in text.removesuffix("\n").split("\n"))


def can_say(value: Any) -> bool:
    """Tell whether a value can stand in TOML: there is no null, and a whole number has 64 bits."""
    if isinstance(value, bool | str | float):
        return True
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, dict):
        return all(isinstance(key, str) and can_say(item) for key, item in value.items())
    return isinstance(value, list | tuple) and all(map(can_say, value))


def dotted_name(name: Sequence[str]) -> str:
    """A table's name as its head says it."""
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
    """Write a file whole or not at all; its directories are made.

    Args:
        force: Put it in the place of one that is there; without, that one stays as it is, even in a race.
        private: Only its owner may read it, as there are keys in it. Else a file that is replaced keeps its mode.

    Raises:
        SetupError: There is a file already, or it can't be written.
    """
    if replaceable(path, force=force):
        path = Path(os.path.realpath(path))  # what a link leads to is replaced, not the link
    try:
        write_atomic(path, text.encode(), private=private, replace=force)
    except FileExistsError as error:
        if path.parent.is_dir():
            raise _exists(path) from None
        raise SetupError(f"{path} can't be written: {error.filename} is a file, not a directory.") from None
    except OSError as error:
        raise SetupError(f"{path} can't be written: {error.strerror or error}.", hint=_remedy(error)) from error


def replaceable(path: Path, *, force: bool) -> os.stat_result | None:
    """The file that is in the way, if it may be replaced; asked beforehand, it spares work for nothing.

    Raises:
        SetupError: It may not.
    """
    try:
        stat_ = path.stat()
    except OSError:  # whatever it is, writing will tell
        return None
    if stat.S_ISDIR(stat_.st_mode):
        raise SetupError(f"{path} is a directory.", hint=f"Name a file in it: {path / 'llmsup.toml'}")
    if not stat.S_ISREG(stat_.st_mode):
        raise SetupError(f"{path} is not a plain file.", hint="Write to standard output instead: --output -")
    if not force:
        raise _exists(path)
    return stat_


def _exists(path: Path) -> SetupError:
    return SetupError(f"{path} exists, and stays as it is.", hint="Add --force to replace it, or name another file.")


def _remedy(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Check the directory's permissions, or name another place."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Make room, or name another place; nothing was left behind."
    return "Name another place."
