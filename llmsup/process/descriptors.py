"""How many files and sockets this process may have open, and how many of them clients may take.

It does not know who opens them.
"""

from __future__ import annotations

import resource

ENOUGH = 65536
"""What the limit is raised to. Beyond that is of no use, and engines inherit it: some programs go through all numbers
up to their limit when they start another one, which takes minutes where it is a billion (containers have that)."""

STEPS = (ENOUGH, 24576, 10240)
"""What is tried, where the hard limit allows it. macOS has "unlimited" as hard limit, and refuses what is beyond
kern.maxfilesperproc with EINVAL; its man page setrlimit(2) promises OPEN_MAX, 10240."""

RESERVE = 96
"""Descriptors that are for everything else than clients: about 20 for llmsup itself, and per engine its pipes, its pid
and the connections that ask for its health and props, which is 5."""

FEWEST = 8
"""Clients that are let in however low the limit is."""


def raise_limit() -> int:
    """Raise the soft limit as far as is allowed and of use; returns what it is then. It is never lowered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return ENOUGH
    for wanted in (*STEPS, hard):
        if wanted == resource.RLIM_INFINITY or wanted <= soft or (hard != resource.RLIM_INFINITY and wanted > hard):
            continue
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            continue
        return wanted
    return soft


def limit() -> int:
    """How many descriptors this process may have open now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ENOUGH if soft == resource.RLIM_INFINITY else min(soft, ENOUGH)


def for_clients(limit: int) -> int:
    """How many connections clients may have: each may need a second one, to an engine."""
    return max(FEWEST, (limit - RESERVE) // 2)
