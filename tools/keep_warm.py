#!/usr/bin/env python3
"""Keep models loaded at given hours, so that requests don't have to wait for them.

    keep_warm.py --hours 8-17 qwen3-4b nomic-embed     # keep running, and check every 10 minutes
    keep_warm.py --once qwen3-4b                       # now, for cron: */10 8-17 * * 1-5

Within --hours each model is requested with POST /models/load, which answers when it is loaded. A model that is already
loaded stays loaded, and its ttl starts over. Hours are local time: "8-17" is from 8:00 to 17:59, "22-5" crosses
midnight, "8,12-13" is both; without --hours it is all day. It needs llmsup's address ($LLMSUP_URL or --url), and its
key, if it has one, in $LLMSUP_API_KEY.

Exit codes with --once: 0 all are loaded, or it is outside the hours; 1 it failed; 2 bad usage.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

PATIENCE = 3600
"""Seconds to wait for an answer: a large model on a slow disk takes a while, and so does a queue for memory."""

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens URLs without a proxy, as the server is on this machine."""


class Failed(Exception):
    """The server can't be reached, or refused."""


def plain(text: object) -> str:
    """Foreign text without control characters, safe for a terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def load(url: str, model: str) -> dict[str, Any]:
    """Load a model; returns the answer once it is loaded. Raises Failed."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("LLMSUP_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    try:
        body = json.dumps({"model": model}).encode()
        request = urllib.request.Request(f"{url}/models/load", body, headers)  # noqa: S310 -- `address` checks it
        with DIRECT.open(request, timeout=PATIENCE) as answer:
            done = json.load(answer)
    except urllib.error.HTTPError as error:
        try:
            said = json.load(error)["error"]["message"]
        except (ValueError, KeyError, TypeError, OSError):
            said = f"HTTP {error.code}; is {url} llmsup?"
        raise Failed(f"{model!a}: {said}") from None
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"{model!a}: no answer from {url}: {getattr(error, 'reason', error)}") from None
    except ValueError as error:  # not JSON, or not a URL
        raise Failed(f"{model!a}: {error}; is {url} llmsup?") from None
    if not isinstance(done, dict) or done.get("success") is not True:
        raise Failed(f"{model!a}: {url} does not say that it is loaded; is that llmsup?")
    return done


def look(url: str, models: list[str]) -> bool:
    """Load all of them, one after the other; returns whether that worked, and prints failures."""
    fine = True
    for model in models:
        try:
            done = load(url, model)
        except Failed as error:
            print(f"keep_warm: {plain(error)}", file=sys.stderr, flush=True)
            fine = False
        else:
            print(f"{done['model']!a} is loaded, after {done['seconds']} s", flush=True)
    return fine


def address(text: str) -> str:
    """The server's address, from the command line or the environment."""
    parts = urllib.parse.urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is not like http://127.0.0.1:5005")
    return text.rstrip("/")


def hours(text: str) -> frozenset[int]:
    """Parse "8-17,20" from the command line; the end of a range is included, as in cron."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin, end = int(first), int(last if dash else first)
        if not (0 <= begin <= 23 and 0 <= end <= 23):
            raise ValueError
        found.update(hour % 24 for hour in range(begin, (end if begin <= end else end + 24) + 1))
    return frozenset(found)


def pause(text: str) -> float:
    """Parse minutes from the command line."""
    value = float(text)
    if not 0.01 <= value <= 1440:
        raise ValueError
    return value


def main() -> int:
    """Check, once or for ever."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="any of its names")
    parser.add_argument("--hours", type=hours, default=hours("0-23"), metavar="HOURS", help="as in 8-17,20 (all)")
    parser.add_argument("--every", type=pause, default=10, metavar="MINUTES", help="between two looks (10)")
    parser.add_argument("--once", action="store_true", help="look once")
    url = os.environ.get("LLMSUP_URL") or "http://127.0.0.1:5005"
    parser.add_argument("--url", type=address, default=url, help=f"the server ($LLMSUP_URL, else {url})")
    options = parser.parse_args()
    while True:
        fine = time.localtime().tm_hour not in options.hours or look(options.url, options.models)
        if options.once:
            return 0 if fine else 1
        time.sleep(options.every * 60)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
