"""A reader of systemd's unit files, as far as ours go: what systemd would make of a text.

From the manual pages alone: systemd.syntax(7) for lines and quoting, systemd.unit(5) for specifiers, systemd.service(5)
for commands.
"""

from __future__ import annotations

import re

_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}


def read_unit(text: str) -> dict[str, dict[str, list[str]]]:
    """Sections, and in each what its keys are set to, in their order."""
    sections: dict[str, dict[str, list[str]]] = {}
    keys: dict[str, list[str]] = {}
    for line in text.split("\n"):
        if not line.strip() or line[0] in "#;":
            continue
        if head := re.fullmatch(r"\[(\w+)\]", line):
            keys = sections[head[1]] = {}
            continue
        key, equals, value = line.partition("=")
        assert equals, f"no assignment: {line!r}"
        assert not value.endswith("\\"), f"goes on in the next line: {line!r}"
        keys.setdefault(key, []).append(value)
    return sections


def read_words(value: str) -> list[str]:
    """Unquote: quotes open at a word's begin only and close at its end; specifiers are replaced in each word."""
    words = []
    rest = value.lstrip()
    while rest:
        quoted = re.match(r'"((?:[^"\\]|\\.)*)"(?:\s+|$)', rest) or re.match(r"'((?:[^'\\]|\\.)*)'(?:\s+|$)", rest)
        plain = quoted or re.match(r"([^\s\"']+)(?:\s+|$)", rest)
        assert plain, f"not a word: {rest!r}"
        words.append(_specifiers(re.sub(r"\\(.)", _escape, plain[1])))
        rest = rest[plain.end() :]
    return words


def read_command(value: str) -> list[str]:
    """A command's words as the program gets them, with no variable set; its own path must be one that is taken."""
    program, *words = read_words(value)
    assert program.startswith("/")
    assert not set(program) & set("\"'\\"), "Executable name contains special characters"
    return [_variables(word) for word in (program, *words)]


def _escape(match: re.Match[str]) -> str:
    char = match[1]
    if char in "\\\"'":
        return char
    assert char in _ESCAPES, f"unknown escape: {match[0]!r}"
    return _ESCAPES[char]


def _specifiers(word: str) -> str:
    assert not re.search(r"(?<!%)(?:%%)*%(?!%)", word), f"a specifier: {word!r}"
    return word.replace("%%", "%")


def _variables(word: str) -> str:
    """`$$` is a dollar, `${NAME}` and a `$NAME` that is the whole word are variables; other dollars stay."""
    if re.fullmatch(r"\$[A-Za-z_]\w*", word, re.ASCII):
        return ""
    return re.sub(r"\$\$|\$\{[^}]*\}", lambda match: "$" if match[0] == "$$" else "", word)
