"""The commands inside a chat, as Ollama's users know them."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import click

from ...config.wording import did_you_mean
from ...process.lines import visible
from ..client import model_path
from ..show import facts
from .chat import Chat
from .parameters import members, parameter
from .prompt import remember
from .writer import Writer

HELP = '''\
/set parameter NAME VALUE  such as temperature 0.7; no VALUE: the model's own
/set system TEXT           the system message; no TEXT: none
/set think, /set nothink   reason before answering, or don't
/set verbose, /set quiet   show after each answer how long it took, or don't
/set nohistory, history    don't keep what is typed for the arrow keys, or do
/show                      the model; also: /show parameters, /show system
/clear                     forget what has been said
/bye                       leave, as Ctrl-D does, or Ctrl-C twice
/?                         this help

Ctrl-C stops an answer. Text between """ and """ can have several lines.'''


class Commands:
    """What can be set in a chat, and shown of it.

    Attributes:
        verbose: Whether to show each answer's figures.
    """

    def __init__(self, chat: Chat, writer: Writer, *, verbose: bool) -> None:
        self._chat = chat
        self._writer = writer
        self.verbose = verbose

    def obey(self, line: str) -> bool:
        """Do what a line that begins with "/" says; whether the chat goes on. Raises Error: the server said no."""
        name, _, rest = line.partition(" ")
        known: dict[str, Callable[[str], None]] = {
            "/set": self._set, "/show": self._show, "/clear": self._clear, "/?": self._help, "/help": self._help,
        }  # fmt: skip
        if name in ("/bye", "/exit", "/quit"):
            return False
        if name in known:
            known[name](rest.strip())
        else:
            _say(f"There is no {name}{did_you_mean(name, [*known, '/bye'])}. /? shows what there is.")
        return True

    def _help(self, _rest: str) -> None:
        click.echo(HELP)

    def _clear(self, _rest: str) -> None:
        self._chat.clear()
        _say("Forgotten.")

    def _set(self, rest: str) -> None:
        what, _, value = rest.partition(" ")
        if what == "parameter":
            self._set_parameter(value.strip())
        elif what == "system":
            self._chat.system = value.strip().strip('"')
            _say("The system message is set." if self._chat.system else "There is no system message.")
        elif what in ("think", "nothink"):
            self._chat.think = what == "think"
            _say("It will reason first." if self._chat.think else "It won't reason first, if its template lets it.")
        elif what in ("verbose", "quiet"):
            self.verbose = what == "verbose"
            _say("Figures follow each answer." if self.verbose else "No figures.")
        elif what in ("history", "nohistory"):
            remember(what == "history")
            _say("Lines are kept." if what == "history" else "Lines are not kept from now on.")
        else:
            known = ("parameter", "system", "think", "nothink", "verbose", "quiet", "history", "nohistory")
            _say(f"/set has no {what!r}{did_you_mean(what, known)}. /? shows what there is." if what else HELP)

    def _set_parameter(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        if not name:
            _say("Which one? For example: /set parameter temperature 0.7")
            return
        try:
            if value.strip():
                self._chat.parameters |= parameter(name, value.strip())
                _say(f"{name} is {value.strip()}.")
            else:
                for each in members(name):
                    self._chat.parameters.pop(each, None)
                _say(f"{name} is the model's own.")
        except ValueError as error:
            _say(f"{str(error).rstrip('.')}.")

    def _show(self, rest: str) -> None:
        if rest in ("", "info"):
            for line in facts(self._chat.client.get(model_path("/v1/models", self._chat.model))):
                click.echo(line)
        if rest == "parameters" or (not rest and self._chat.parameters):
            for name, value in self._chat.parameters.items():
                shown = shlex.join(value) if name == "stop" else str(value)
                click.echo(f"{name}  {visible(shown)}")
            if not self._chat.parameters:
                _say("None are set: the model's own are used.")
        if rest == "system" or (not rest and self._chat.system):
            _say(self._chat.system or "There is no system message.")
        if rest not in ("", "info", "parameters", "system"):
            _say(f"/show has no {rest!r}; there are: info, parameters, system.")


def _say(text: str) -> None:
    for line in text.split("\n"):
        click.echo(visible(line))
