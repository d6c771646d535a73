"""The manual page is what the help texts say now."""

from __future__ import annotations

import re

from llmsup.cli import COMMANDS
from tools.man_page import FILE, escaped, page


def test_it_is_as_it_would_be_written() -> None:
    """If this fails, run tools/man_page.py."""
    assert FILE.read_text("utf-8") == page()


def test_every_command_is_in_it() -> None:
    sections = re.findall(r"^\.SS llmsup (\w+)", page(), re.MULTILINE)
    assert list(dict.fromkeys(sections)) == list(COMMANDS)
    assert sections.count("service") > 1, "a group's commands are, too"


def test_what_roff_would_take_for_its_own() -> None:
    assert escaped(".SH 'it'") == "\\&.SH \\(aqit\\(aq"
    assert escaped('a\\b --c `d` "e"') == "a\\eb \\-\\-c \\(gad\\(ga \\(dqe\\(dq"
    text = page()
    requests = set(re.findall(r"^\.(\S+)", text, re.MULTILINE))
    assert requests <= {'\\"', "TH", "SH", "SS", "PP", "TP", "B", "I", "RI", "nf", "fi"}
    assert not re.search(r"^'", text, re.MULTILINE)
    assert "\b" not in text
