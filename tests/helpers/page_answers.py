"""What /history, /requests and a dry run of a load answer: made up in their shapes, to draw them in all states."""

from __future__ import annotations

import time
from typing import Any

GIB = 1024**3
NOW = float(round(time.time()))
STEP = 60.0

MARKUP = "<img src=x onerror=alert(1)>"
"""A name that would be seen if it were ever taken for markup."""


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
    "bytes": 3 * GIB,
    "victims": ["writer"],
    "paused": [],
    "holders": [],
    "level": "normal",
    "ceiling_bytes": 20 * GIB,
    "room_bytes": GIB,
    "available_bytes": 9 * GIB,
    "missing_bytes": 2 * GIB,
    "weighed": [_weighed("writer", 4 * GIB, 4.1), _weighed("org/coder@Q4_K_M", 7 * GIB, 31.0, "in use")],
}


def history(hours: float = 2) -> dict[str, Any]:
    """Hours of three models that come and go, with a time in which llmsup wasn't there, and a moment of pressure."""
    samples = []
    count = round(hours * 3600 / STEP)
    for step in range(count):
        share = step / count
        if 0.4 < share < 0.5:
            continue
        models = {}
        if share > 0.05:
            models["org/coder@Q4_K_M"] = 7 * GIB
        if share < 0.7:
            models["writer"] = 4 * GIB
        if 0.7 <= share < 0.95:
            models[MARKUP] = 3 * GIB
        others = round((8 + 2 * (step % 60) / 60) * GIB)
        pressure = "critical" if 0.69 < share < 0.7 else "warn" if 0.66 < share < 0.7 else "normal"
        free = 32 * GIB - others - sum(models.values())
        at = NOW - (count - step) * STEP
        samples.append(
            {"at": at, "models": models, "others": others, "free": free, "total": 32 * GIB, "pressure": pressure}
        )
    span = hours * 3600

    def happening(share: float, event: str, model: str, reason: str, decision: Any = None) -> dict[str, Any]:
        return {"at": NOW - span * (1 - share), "event": event, "model": model, "reason": reason, "decision": decision}

    happened = [
        happening(
            0.05, "load", "org/coder@Q4_K_M", "asked for by a request", {**DECISION, "decision": "admit", "victims": []}
        ),
        happening(0.7, "unload", "writer", "to make room for <img src=x onerror=alert(1)>", DECISION),
        happening(0.701, "load", MARKUP, "asked for by a request"),
        happening(0.95, "unload", MARKUP, "idle for 30 m (its ttl)"),
    ]
    buckets = [
        {
            "at": NOW - span + number * STEP,
            "count": (number * 7) % 23 if number % 3 else 0,
            "errors": 2 if number % 9 == 4 else 0,
            "first_token_s": None if number % 3 == 0 else 0.2 + (number % 37) / 50,
        }
        for number in range(round(span / STEP))
    ]
    return {
        "from": NOW - span,
        "to": NOW,
        "step_s": STEP,
        "samples": samples,
        "happened": happened,
        "requests": buckets,
    }


def requests(count: int = 15) -> dict[str, Any]:
    """The last requests, newest first: whole ones, refused ones, one that was left, one without tokens."""
    made = []
    for number in range(count):
        error = "The engine of writer died: exit code 3." if number % 11 == 3 else None
        made.append(
            {
                "id": count - number,
                "at": NOW - 37 * number,
                "model": (MARKUP, "writer", "org/coder@Q4_K_M")[number % 3],
                "client": ("laptop", "127.0.0.1")[number % 2],
                "path": ("/v1/chat/completions", "/v1/messages", "/api/chat")[number % 3],
                "status": 502 if error else 0 if number == 7 else 200,
                "waited_s": 0.0004 if number % 4 else 3.2,
                "first_token_s": None if error else 0.21 + number / 50,
                "took_s": 4.2 + number / 3,
                "tokens_in": 1200 + 31 * number,
                "tokens_cached": None if number % 5 == 0 else 1100,
                "tokens_out": None if error else 240 + number,
                "tokens_per_s": None if error else 41.7 - number / 4,
                "error": "client left" if number == 7 else error,
                "captured": number == 1,
            }
        )
    return {"requests": made}


def would(kind: str, *victims: str) -> dict[str, Any]:
    """What a load would do."""
    sentence = {
        "load": "It needs 3.0 GiB, and 1.2 GiB is free: these would be unloaded.",
        "wait": "It would wait: everything that has memory is in use.",
        "never_fits": "It needs 900 GiB, and models may have 20.0 GiB at most.",
    }[kind]
    return {
        "model": MARKUP,
        "would": kind,
        "needs": 3 * GIB,
        "free": GIB,
        "victims": [{"model": name, "frees": 2 * GIB, "reason": "idle for 4 m"} for name in victims],
        "sentence": sentence,
        "decision": DECISION,
    }


PROBLEMS = {
    "/health": {"json": {"status": "ok", "problems": ["1 of 2 models can't be started", "the config has changed"]}},
    "/reload-config": {"json": {"problem": "there are 2 mistakes", "mistakes": [f"{MARKUP} @ a", "b @ c"]}},
}
"""What is said of a server that isn't as it should be."""
