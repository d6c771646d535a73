"""Errors that several clients get."""

from __future__ import annotations

from llmsup.errors import ConfigError, EngineDied, Error


def test_the_same_error_for_another_client_is_another_object() -> None:
    """It says the same, and doesn't share the traceback of the first."""
    try:
        raise EngineDied("it died", hint="Look.", param="model", retry_after=3, log_tail=("a", "b"))
    except Error as error:
        first, again, later = error, error.again(), error.again(retry_after=9)
    assert type(again) is EngineDied
    assert again.__traceback__ is None
    assert str(again) == str(first) == "it died Look."
    assert again.args == first.args
    assert (again.param, again.retry_after, again.log_tail) == ("model", 3, ("a", "b"))
    assert (later.retry_after, first.retry_after) == (9, 3)


def test_an_error_with_parts_of_its_own_keeps_them() -> None:
    assert ConfigError(("one", "two"), "file").again().mistakes == ("one", "two")
