"""The config's kinds of value, each read strictly: no "5" for 5, no true for 1, no string as a list of its letters."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from cattrs.errors import IterableValidationError, IterableValidationNote

from ..units import Bytes, Seconds, parse_bytes, parse_seconds
from .sampling import PARAMETERS, unknown_parameter
from .tilde import expand_text
from .wording import got

T = TypeVar("T")
Hook = Callable[[Any, Any], Any]


def each(items: Iterable[tuple[str | int, Any]], read: Callable[[str | int, Any], T]) -> list[T]:
    """Read every item of a list or a table, and raise the mistakes of all of them together."""
    values, errors = [], []
    for index, item in items:
        try:
            values.append(read(index, item))
        except Exception as error:  # noqa: BLE001 - raised again below
            error.add_note(IterableValidationNote("", index, None))
            errors.append(error)
    if errors:
        raise IterableValidationError("mistakes", errors, list)
    return values


def exactly(type_: type, what: str) -> Hook:
    """Make a hook that accepts exactly this type: a bool is not an int."""

    def read(value: Any, _type: Any) -> Any:
        if type(value) is not type_:
            raise ValueError(f"expected {what}, {got(value)}")
        return value

    return read


string = exactly(str, "a string")
table = exactly(dict, "a table")


def word(value: Any, _type: Any) -> str:
    """Accept strings without NUL: no path, argument or environment variable can contain one."""
    if "\0" in string(value, str):
        raise ValueError(f"it can't contain a NUL character: {value!r}")
    return str(value)


OLLAMAS = "127.0.0.1:11434"
"""Where Ollama listens, and its clients look for it."""


def ollamas(value: Any, _type: Any) -> str:
    """Accept an address, or true for Ollama's own, false for none."""
    if type(value) is bool:
        return OLLAMAS if value else ""
    if type(value) is not str:
        raise ValueError(f'expected HOST:PORT, or true for "{OLLAMAS}", {got(value)}')
    return value


def seconds(value: Any, _type: Any) -> Seconds:
    """Accept "30m", "never" and numbers of seconds."""
    if type(value) is str:
        return parse_seconds(value)
    if type(value) is not int and type(value) is not float:
        raise ValueError(f'expected a duration such as "90s" or a number of seconds, {got(value)}')
    if not 0 <= value < math.inf:
        raise ValueError(f'must be finite and not negative, or "never": {value}')
    return Seconds(float(value))


def size(value: Any, _type: Any) -> Bytes:
    """Accept "8GiB" and whole numbers of bytes."""
    if type(value) is str:
        return parse_bytes(value)
    if type(value) is not int:
        raise ValueError(f'expected a size such as "8GiB" or a whole number of bytes, {got(value)}')
    if value < 0:
        raise ValueError(f"must not be negative: {value}")
    return Bytes(value)


def path(value: Any, _type: Any) -> Path:
    """Accept paths; `~` is expanded by the schema."""
    if not word(value, str):
        raise ValueError("a path can't be empty")
    return Path(value)


def command(value: Any, _type: Any) -> tuple[str, ...]:
    """Accept a list, or a string, which is split as a shell would (none is run); `~/` is expanded in every word."""
    if type(value) is str:
        try:
            words = shlex.split(word(value, str))
        except ValueError as error:  # "No closing quotation"
            raise ValueError(f"{error} in the command {value!r}") from None
    elif type(value) is list:
        words = each(enumerate(value), lambda _, item: word(item, str))
    else:
        raise ValueError(f"expected a command (a string or a list of strings), {got(value)}")
    if words and not words[0]:
        raise ValueError(f"the command's first word is empty: {value!r}")
    return tuple(expand_text(word) if word.startswith("~/") else word for word in words)


def probe(value: Any, _type: Any) -> tuple[str, ...] | str:
    """Accept "auto" or a command."""
    words = command(value, None)
    if not words:
        raise ValueError('expected "auto" or a command, got nothing')
    return "auto" if words == ("auto",) else words


def keys(value: Any, _type: Any) -> tuple[str, ...]:
    """Accept a list of strings, and never show their contents in an error."""
    if type(value) is not list or not all(type(key) is str for key in value):
        raise ValueError('expected a list of strings: write ["..."]')
    return tuple(value)


def json(value: Any, _type: Any) -> Any:
    """Accept what JSON can express: TOML also has dates, NaN and infinity."""
    if type(value) is dict:
        each(value.items(), json_item)
    elif type(value) is list:
        each(enumerate(value), json_item)
    elif type(value) not in (str, int, float, bool) or (type(value) is float and not math.isfinite(value)):
        raise ValueError(f"expected a value that JSON can express, {got(value)}")
    return value


def json_item(_index: str | int, value: Any) -> Any:
    """`json`, for an item of a table or a list."""
    return json(value, None)


def sampling(value: Any, _type: Any) -> dict[str, Any]:
    """Accept a table of sampling parameters."""

    def check(name: str | int, item: Any) -> tuple[str, Any]:
        if name not in PARAMETERS:
            raise ValueError(unknown_parameter(str(name)))
        PARAMETERS[str(name)].check(item)
        return str(name), json(item, None)

    return dict(each(table(value, dict).items(), check))


def presets(value: Any, _type: Any) -> dict[str, dict[str, Any]]:
    """Accept a table of presets, each a table of sampling parameters."""

    def preset(name: str | int, item: Any) -> tuple[str, dict[str, Any]]:
        name = str(name)
        if not name.strip() or ":" in name or not name.isprintable():
            raise ValueError(f"{name!r} can't name a preset: a preset is requested as MODEL:PRESET")
        return name, sampling(item, None)

    return dict(each(table(value, dict).items(), preset))


def strings(value: Any, _type: Any) -> tuple[str, ...]:
    """Accept a list of strings; a single string is not a list of its letters."""
    if type(value) is not list:
        raise ValueError(f"expected a list of strings, {got(value)}")
    return tuple(each(enumerate(value), lambda _, item: word(item, str)))


def paths(value: Any, _type: Any) -> tuple[Path, ...]:
    """Accept a list of paths."""
    if type(value) is not list:
        raise ValueError(f"expected a list of paths, {got(value)}")
    return tuple(each(enumerate(value), lambda _, item: path(item, Path)))


def environment(value: Any, _type: Any) -> dict[str, str]:
    """Accept a table of environment variables."""

    def variable(name: str | int, item: Any) -> tuple[str, str]:
        name = str(name)
        if not name or "=" in name or "\0" in name:
            raise ValueError(f"{name!r} can't name a variable: a name can't be empty or contain '='")
        return name, word(item, str)

    return dict(each(table(value, dict).items(), variable))


def body_table(value: Any, _type: Any) -> dict[str, Any]:
    """Accept a table of values for a body's members, keyed by their paths."""

    def member(path: str | int, item: Any) -> tuple[str, Any]:
        check_member(str(path))
        return str(path), json(item, None)

    return dict(each(table(value, dict).items(), member))


def body_members(value: Any, _type: Any) -> tuple[str, ...]:
    """Accept a list of paths to a body's members."""

    def member(_index: str | int, item: Any) -> str:
        check_member(path := str(string(item, str)))
        return path

    if type(value) is not list:
        raise ValueError(f"expected a list of strings, {got(value)}")
    return tuple(each(enumerate(value), member))


def check_member(path: str) -> None:
    """Accept the path of a member that may be changed: "chat_template_kwargs.enable_thinking".

    Raises:
        ValueError: It is not a path, or the member is one that llmsup itself relies on; the message can be shown to the
            user.
    """
    if not all(path.split(".")):
        raise ValueError(f"{path!r} is not the name of a body's member: a name, or names with dots between them")
    if path.partition(".")[0] == "model":
        raise ValueError(f"{path!r} can't be changed here: `upstream_model` is what an engine is asked for")
