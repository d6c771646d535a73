"""Embeddings in Ollama's words. Vectors are long, so their numbers are passed on as they are written."""

from __future__ import annotations

import math
import time
from typing import ClassVar

import msgspec

from ...body import JsonBody
from ..dialect import Translation
from .answers import Usage, refused
from .requests import named, wanted_dimensions


class _Vector(msgspec.Struct):
    embedding: msgspec.Raw
    index: int = 0


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    usage: Usage | None = None


_NUMBERS = msgspec.json.Decoder(list[float])
_VECTORS = msgspec.json.Decoder(_Vectors)


class Embedded(Translation):
    """The answer to `/api/embed`."""

    whole_type: ClassVar[bytes] = b"application/json; charset=utf-8"

    def __init__(self, body: JsonBody) -> None:
        self._began = time.perf_counter_ns()
        self._model = named(body)
        self._dimensions = wanted_dimensions(body)

    def event(self, _data: bytes) -> bytes:
        raise ValueError("embeddings don't come in a stream")

    def end(self) -> bytes:
        return b""

    def whole(self, body: bytes) -> bytes:
        answer = _VECTORS.decode(body)
        vectors = [vector.embedding for vector in sorted(answer.data, key=lambda vector: vector.index)]
        if self._dimensions:
            vectors = [_shortened(vector, self._dimensions) for vector in vectors]
        return self._words(vectors, answer.usage.prompt_tokens if answer.usage else 0)

    def refusal(self, _status: int, body: bytes) -> bytes:
        return refused(body)

    def _words(self, vectors: list[msgspec.Raw], tokens: int) -> bytes:
        took = time.perf_counter_ns() - self._began
        numbers = {"total_duration": took, "load_duration": 0, "prompt_eval_count": tokens}
        return msgspec.json.encode({"model": self._model, "embeddings": vectors, **numbers})


class EmbeddedOne(Embedded):
    """The answer to `/api/embeddings`."""

    def _words(self, vectors: list[msgspec.Raw], _tokens: int) -> bytes:
        return msgspec.json.encode({"embedding": vectors[0]})


def _shortened(vector: msgspec.Raw, dimensions: int) -> msgspec.Raw:
    """The first numbers of a vector, of length 1 again, as Ollama does it; llama.cpp always gives all."""
    numbers = _NUMBERS.decode(vector)
    if len(numbers) <= dimensions:
        return vector
    numbers = numbers[:dimensions]
    length = math.sqrt(math.fsum(number * number for number in numbers)) or 1.0
    return msgspec.Raw(msgspec.json.encode([number / length for number in numbers]))
