"""Calls of tools: an engine writes their arguments token by token, and Ollama's clients want each call whole."""

from __future__ import annotations

import msgspec


class Function(msgspec.Struct):
    """What is to be called, or a piece of it."""

    name: str | None = None
    arguments: str | None = None


class Call(msgspec.Struct):
    """One call, or a piece of it."""

    function: Function | None = None
    index: int | None = None
    id: str | None = None


class Calls:
    """Those of one answer."""

    def __init__(self) -> None:
        self._calls: dict[int, tuple[str, str, list[str]]] = {}

    def add(self, pieces: list[Call] | None) -> None:
        """What an answer, or an event of it, has of them."""
        for place, piece in enumerate(pieces or ()):
            index = place if piece.index is None else piece.index
            id_, name, arguments = self._calls.get(index, ("", "", []))
            function = piece.function or Function()
            arguments.append(function.arguments or "")
            self._calls[index] = (id_ or piece.id or "", name or function.name or "", arguments)

    def done(self, *, cut: bool) -> bytes:
        """All of them as JSON; b"" if there are none. `cut`: the answer was, so that the last one may not be whole, and
        is left out then. Raises ValueError: it isn't whole all the same.
        """
        out = []
        for index, (id_, name, pieces) in self._calls.items():
            arguments = "".join(pieces) or "{}"
            try:
                called = msgspec.json.decode(arguments)
            except msgspec.DecodeError:
                if cut:
                    continue
                raise
            function = {"index": index, "name": name, "arguments": called}
            out.append({**({"id": id_} if id_ else {}), "function": function})
        return msgspec.json.encode(out) if out else b""
