"""Hours of a history, which nobody wants to wait for: written into a history file before a llmsup is started on it."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from llmsup.config.schema import GiB
from llmsup.history.file import HistoryFile
from llmsup.history.recorder import NAME
from llmsup.history.rows import Happened, HappenedKind, RequestRow, Sample
from llmsup.history.tables import Batch

STEP = 60
"""Seconds from one sample to the next."""

MARKUP = "<img src=x onerror=alert(1)>"
"""A name that would be seen if it were ever taken for markup."""

CODER = "org/coder-with-a-rather-long-name-30B-A3B-Instruct@Q4_K_M"


def _weighed(model: str, size: int, loss: float, stays: str | None = None) -> dict[str, Any]:
    return {
        "model": model,
        "footprint_bytes": size,
        "freeable_bytes": size,
        "rank": 1,
        "loss_seconds": loss,
        "stays": stays,
    }


DECISION = {
    "decision": "evict",
    "model": MARKUP,
    "reason": "it needs 3.0 GiB, and 1.2 GiB is free; writer can go for 4.1 s of expected reload",
    "left": None,
    "bytes": 3 * GiB,
    "victims": ["writer"],
    "paused": [],
    "holders": [],
    "level": "normal",
    "ceiling_bytes": 20 * GiB,
    "room_bytes": GiB,
    "available_bytes": 9 * GiB,
    "missing_bytes": 2 * GiB,
    "weighed": [_weighed("writer", 4 * GiB, 4.1), _weighed(CODER, 7 * GiB, 31.0, "in use")],
}


def write(state: Path, hours: float = 2) -> None:
    """Write such hours, up to now, to the history in this `state_dir`."""
    now, span = time.time(), hours * 3600
    batch = Batch(samples=_samples(now, span), happened=_happened(now, span), requests=_requests(now, span))
    file = HistoryFile(state / NAME)
    file.open()
    file.write(batch, now, 7 * 86400)
    file.close()
    assert [each for each in file.said if each.level > logging.INFO] == []


def _samples(now: float, span: float) -> list[Sample]:
    """Three models that come and go, with a time in which llmsup wasn't there, and a moment of pressure."""
    samples: list[Sample] = []
    count = round(span / STEP)
    for step in range(count):
        share = step / count
        if 0.4 < share < 0.5:
            continue
        has = ((CODER, 7, share > 0.05), ("writer", 4, share < 0.7), (MARKUP, 3, 0.7 <= share < 0.95))
        models = {name: size * GiB for name, size, there in has if there}
        others = round((8 + 2 * (step % 60) / 60) * GiB)
        samples.append(
            {
                "at": now - (count - step) * STEP,
                "models": models,
                "others": others,
                "free": 32 * GiB - others - sum(models.values()),
                "total": 32 * GiB,
                "pressure": "critical" if 0.69 < share < 0.7 else "warn" if 0.66 < share < 0.7 else "normal",
            }
        )
    return samples


def _happened(now: float, span: float) -> list[Happened]:
    def then(share: float, event: HappenedKind, model: str, reason: str, decision: Any = None) -> Happened:
        return {"at": now - span * (1 - share), "event": event, "model": model, "reason": reason, "decision": decision}

    admit = {**DECISION, "decision": "admit", "victims": []}
    return [
        then(0.05, "load", CODER, "asked for by a request", admit),
        then(0.7, "unload", "writer", f"to make room for {MARKUP}", DECISION),
        then(0.701, "load", MARKUP, "asked for by a request"),
        then(0.95, "unload", MARKUP, "idle for 30 m (its ttl)"),
    ]


def _requests(now: float, span: float) -> list[RequestRow]:
    """Whole ones, refused ones, one that was left, and some of which little is known; more in some minutes."""
    rows: list[RequestRow] = []
    for minute in range(round(span / 60)):
        for _ in range((0, 1, 0, 3, 0, 0, 2)[minute % 7] if minute % 40 > 20 else 0):
            number = len(rows)
            error = "The engine of writer died: exit code 3." if number % 11 == 3 else None
            rows.append(
                {
                    "id": f"before-{number}",
                    "at": now - span + 60 * minute,
                    "model": (MARKUP, "writer", CODER)[number % 3],
                    "client": ("laptop", "127.0.0.1")[number % 2],
                    "path": ("/v1/chat/completions", "/v1/messages", "/api/chat")[number % 3],
                    "status": 502 if error else 0 if number % 19 == 7 else 200,
                    "waited_s": 0.0004 if number % 4 else 3.2,
                    "first_token_s": None if error else 0.21 + number % 17 / 20,
                    "took_s": 4.2 + number / 3,
                    "tokens_in": 1200 + 31 * number,
                    "tokens_cached": None if number % 5 == 0 else 1100,
                    "tokens_out": None if error else 240 + number,
                    "tokens_per_s": None if error else 41.7 - number / 4,
                    "error": "client left" if number % 19 == 7 else error,
                    "captured": False,
                }
            )
    return rows
