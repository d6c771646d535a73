"""What `/history` and `/requests` say."""

from __future__ import annotations

from typing import TypedDict

from ...history.rows import Bucket, Happened, RequestRow, Sample

History = TypedDict(
    "History",
    {
        "from": float,
        "to": float,
        "step_s": int,
        "keep_s": float,
        "samples": list[Sample],
        "happened": list[Happened],
        "happened_before": int,
        "requests": list[Bucket],
    },
)
"""The time before now."""

History.__doc__ = """The time before now.

Attributes:
    from: Its beginning.
    to: Its end.
    step_s: How many seconds there are from one of `requests` to the next.
    keep_s: For how long it is kept ([history] keep); 0: nothing is, and only the last sample is there.
    samples: Memory, the last sample being of this moment. While nothing changes, there are few.
    happened_before: How many more things happened before the first of `happened`.
"""


class Requests(TypedDict):
    """The last requests for models, newest first, whoever answered; those that only looked are left out."""

    requests: list[RequestRow]


class CapturedRequest(RequestRow):
    """A request of a model with `capture = true`.

    Attributes:
        request: Its body, as the engine got it.
        answer: The body of the engine's answer, before it was translated.
    """

    request: str
    answer: str
