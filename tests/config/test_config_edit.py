"""A table added to or removed from somebody's file: every other line stays."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.config.edit import with_table, without_table
from llmsup.config.write import Table

FILE = """# mine
[server]        # where
listen = ":1"

# the old one
[keys.old]  # a comment
hash = "x"
models = [
    "a",
    # b
]
# after it

# of models
[models.m]
ttl = 1
description = '''
[keys.old]
[keys.new]
'''
"""


def table(name: str = "new", **values: object) -> Table:
    made = Table(("keys", name))
    for key, value in (values or {"hash": "y"}).items():
        made.put(key, value)
    return made


def test_a_table_is_added_at_the_end() -> None:
    assert with_table(FILE, table()) == FILE + '\n[keys.new]\nhash = "y"\n'
    assert with_table("", table()) == '[keys.new]\nhash = "y"\n'
    assert with_table("a = 1", table()) == 'a = 1\n\n[keys.new]\nhash = "y"\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[keys.new]", "there is a [keys.new] already"),
        ("keys.new.hash = ''", "there is a [keys.new] already"),
        ("keys = { a = {} }", "written in one line"),
        ("keys.a.hash = ''", ""),
    ],
)
def test_where_none_can_be_added(text: str, why: str) -> None:
    """That is said, and the text is not touched."""
    if why:
        with pytest.raises(ValueError, match=why.replace("[", r"\[")):
            with_table(text, table())
    else:
        assert set(tomllib.loads(with_table(text, table()))["keys"]) == {"a", "new"}


def test_a_table_is_removed_with_its_keys() -> None:
    """Not what only looks like one, and no comment of others."""
    left = without_table(FILE, ("keys", "old"))
    assert left == FILE.replace('[keys.old]  # a comment\nhash = "x"\nmodels = [\n    "a",\n    # b\n]\n', "")


def test_what_is_no_table_of_its_own_stays() -> None:
    for text in ("keys.a.hash = 'x'", "keys = { a = { hash = 'x' } }", "[keys]\na = { hash = 'x' }"):
        with pytest.raises(ValueError, match=r"\[keys\.a\] isn't written as a table of its own"):
            without_table(text, ("keys", "a"))
    with pytest.raises(LookupError, match=r"there is no \[keys\.b\]"):
        without_table("[keys.a]", ("keys", "b"))


@given(st.lists(st.text(st.characters(exclude_categories=["C"]), min_size=1), min_size=1, max_size=5, unique=True))
def test_what_was_added_can_be_removed(names: list[str]) -> None:
    """Whatever it is called, in whatever order."""
    text = FILE
    for name in names:
        if name != "old":
            text = with_table(text, table(name))
    for name in reversed(names):
        text = without_table(text, ("keys", name))
    assert tomllib.loads(text) == tomllib.loads(FILE if "old" not in names else without_table(FILE, ("keys", "old")))
    assert text.startswith("# mine\n[server]        # where\n")
