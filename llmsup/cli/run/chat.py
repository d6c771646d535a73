"""A conversation with a model, and its answers as they come."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator, Mapping
from itertools import chain
from typing import Any

import click
from attrs import define, field, frozen

from ...process.lines import visible
from ..client import Client, Refused
from ..load import wait

PATH = "/v1/chat/completions"


@frozen
class Piece:
    """A part of an answer. `thought`: it is the model's reasoning, not the answer itself."""

    text: str
    thought: bool = False


@define
class Figures:
    """What an answer took.

    Attributes:
        first_token: Seconds until it began; None if it hasn't.
        usage: The engine's `usage`, if it tells.
        timings: The engine's `timings`, if it tells.
    """

    first_token: float | None = None
    usage: Mapping[str, Any] = field(factory=dict)
    timings: Mapping[str, Any] = field(factory=dict)


@define
class Chat:
    """One conversation.

    Attributes:
        model: The name that requests use.
        system: The system message; "" for none.
        parameters: Members of each request, by name: temperature and the like.
        think: Whether the model shall reason first; None: as it does by itself.
        ttl: How long the model may be idle afterwards, as it was written.
        elsewhere: Other servers have the model, too, or they alone: the request decides where it is served.
        messages: What has been said so far, without the system message.
        figures: Those of the last answer.
    """

    client: Client
    model: str
    system: str = ""
    parameters: dict[str, Any] = field(factory=dict)
    think: bool | None = None
    ttl: str | None = None
    elsewhere: bool = False
    messages: list[dict[str, str]] = field(factory=list)
    figures: Figures = field(factory=Figures)

    def load(self) -> None:
        """Have the model loaded, and show the progress on stderr. Raises Error: it can't be."""
        if self.elsewhere:
            return
        how = {} if self.ttl is None else {"ttl": self.ttl}
        try:
            answer = self.client.post("/models/load", {"model": self.model, "wait": False, **how})
        except Refused as refused:
            if refused.refusal != "admin_required":
                raise
            return  # the request loads it, which every key may do
        if answer["state"] == "ready":
            return
        try:
            wait(self.client, str(answer["model"]), quiet=True)
        except KeyboardInterrupt:
            click.echo(f"\n{visible(self.model)} goes on loading; `llmsup unload` stops that.", err=True)
            raise

    def ask(self, text: str) -> Generator[Piece, None, None]:
        """Say something; yields the answer. What has come of it is remembered, even if the iterator is closed before
        its end; a question without any answer isn't.

        Raises:
            Error: The server refused the request, or the answer ended with an error.
        """
        self.messages.append({"role": "user", "content": text})
        self.figures, began, said = Figures(), time.monotonic(), ""
        try:
            with contextlib.closing(self.client.events(PATH, self._body())) as events:
                for piece in chain.from_iterable(map(self._pieces, events)):
                    if self.figures.first_token is None:
                        self.figures.first_token = time.monotonic() - began
                    said += "" if piece.thought else piece.text
                    yield piece
        finally:
            if said:
                self.messages.append({"role": "assistant", "content": said})
            else:
                self.messages.pop()

    def clear(self) -> None:
        """Forget what has been said."""
        self.messages.clear()

    def _body(self) -> dict[str, Any]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        body = {"model": self.model, "messages": [*system, *self.messages], "stream": True}
        body |= {"stream_options": {"include_usage": True}, **self.parameters}
        if self.think is not None:
            body["chat_template_kwargs"] = {"enable_thinking": self.think}
        if self.ttl is not None:
            body["ttl"] = self.ttl
        return body

    def _pieces(self, event: Any) -> Iterator[Piece]:
        """The pieces in one chunk; its figures are noted."""
        if not isinstance(event, dict):
            return
        self.figures.usage = event.get("usage") or self.figures.usage
        self.figures.timings = event.get("timings") or self.figures.timings
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            for name in ("reasoning_content", "reasoning", "content"):
                if isinstance(delta.get(name), str) and delta[name]:
                    yield Piece(delta[name], thought=name != "content")
