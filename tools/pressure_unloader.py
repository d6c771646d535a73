#!/usr/bin/env python3
"""Unload the model that is least worth keeping while this machine's memory is too full.

    pressure_unloader.py                         # check every 10 s, for ever
    pressure_unloader.py --once --threshold 85   # check once, for cron: * * * * *

If more than --threshold percent of the memory is in use, it unloads the last entry of GET /running, which is the least
worth keeping, with POST /models/unload. Models that are pinned or in use are left alone. It needs llmsup's address
($LLMSUP_URL or --url), its key, if it has one, in $LLMSUP_API_KEY, and psutil.

Exit codes with --once: 0 done, or nothing to do; 1 it failed; 2 bad usage.
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

try:
    import psutil
except ImportError:  # it is there in the environment that llmsup is installed in; another Python may have no need of it
    psutil = None  # type: ignore[assignment]

PATIENCE = 300
"""Seconds to wait for an answer: an unload lets requests finish first."""

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens URLs without a proxy, as the server is on this machine."""

MISSING = (
    f"{sys.executable} has no psutil, which tells how much memory is in use: run this with the Python that llmsup is "
    "installed in (.venv/bin/python), or pip install psutil"
)


class Failed(Exception):
    """The server can't be reached, or refused."""


def plain(text: object) -> str:
    """Foreign text without control characters, safe for a terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def ask(url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """GET, or POST if there is a body; returns the decoded JSON. Raises Failed."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("LLMSUP_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    try:
        request = urllib.request.Request(url + path, data, headers)  # noqa: S310 -- `address` checks it
        with DIRECT.open(request, timeout=PATIENCE) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        try:
            said = json.load(error)["error"]["message"]
        except (ValueError, KeyError, TypeError, OSError):
            said = f"HTTP {error.code}; is that llmsup?"
        raise Failed(f"{url}{path}: {said}") from None
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"no answer from {url}: {getattr(error, 'reason', error)}") from None
    except ValueError as error:  # not JSON, or not a URL
        raise Failed(f"{url}{path}: {error}; is that llmsup?") from None


def look(url: str, threshold: float) -> str:
    """Check once; returns what was done, or "" if there was nothing to do. Raises Failed."""
    used = psutil.virtual_memory().percent
    if used <= threshold:
        return ""
    full = f"{used:.0f} % of the memory is in use"
    models = ask(url, "/running")
    if not isinstance(models, list):
        raise Failed(f"{url}/running is not a list of models; is that llmsup?")
    if not models:
        return f"{full}, and no model is loaded"
    if any(model["state"] in ("draining", "stopping") for model in models):
        return f"{full}, and a model is about to be unloaded already"
    last = models[-1]
    if last["pinned"] or last["in_flight"] or last["waiting"]:
        return f"{full}, and every model is pinned or in use"
    done = ask(url, "/models/unload", {"model": last["model"]})
    return f"{full}: unloaded {last['model']!a}, {done['freed_bytes'] / 2**20:.0f} MiB in {done['seconds']} s"


def address(text: str) -> str:
    """The server's address, from the command line or the environment."""
    parts = urllib.parse.urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is not like http://127.0.0.1:5005")
    return text.rstrip("/")


def percent(text: str) -> float:
    """Parse a threshold from the command line."""
    value = float(text)
    if not 0 <= value <= 100:
        raise ValueError
    return value


def pause(text: str) -> float:
    """Parse an interval from the command line."""
    value = float(text)
    if not 0.1 <= value <= 86400:
        raise ValueError
    return value


def main() -> int:
    """Check, once or for ever."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threshold", type=percent, default=90, metavar="PERCENT", help="of all memory (90)")
    parser.add_argument("--interval", type=pause, default=10, metavar="SECONDS", help="between two looks (10)")
    parser.add_argument("--once", action="store_true", help="look once")
    url = os.environ.get("LLMSUP_URL") or "http://127.0.0.1:5005"
    parser.add_argument("--url", type=address, default=url, help=f"the server ($LLMSUP_URL, else {url})")
    options = parser.parse_args()
    if psutil is None:
        print(f"pressure_unloader: {MISSING}", file=sys.stderr)
        return 1
    while True:
        try:
            if done := look(options.url, options.threshold):
                print(done, flush=True)
        except Failed as error:
            print(f"pressure_unloader: {plain(error)}", file=sys.stderr, flush=True)
            if options.once:
                return 1
        if options.once:
            return 0
        time.sleep(options.interval)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
