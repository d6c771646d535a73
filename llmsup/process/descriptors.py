"""How many files and sockets this process may have open, and how many of them clients may take."""

from __future__ import annotations

import resource

ENOUGH = 65536
"""What the limit is raised to. More would be of no use, and engines inherit it: some programs close every number up
to their limit before they start another, which takes minutes where it is a billion (as in some containers)."""

STEPS = (ENOUGH, 24576, 10240)
"""Values to try, where the hard limit allows them. macOS has "unlimited" as its hard limit and refuses anything above
kern.maxfilesperproc with EINVAL; its man page setrlimit(2) promises OPEN_MAX, 10240."""

RESERVE = 96
"""Descriptors kept for everything but clients: about 20 for llmsup itself and 5 per engine (its pipes, its pid and the
connections that ask for its health and props)."""

FEWEST = 8
"""Clients that are accepted however low the limit is."""


def raise_limit() -> int:
    """Raise the soft limit as far as is allowed and useful; returns the new limit. It is never lowered."""
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
    """How many connections clients may have: each may need a second descriptor, to an engine."""
    return max(FEWEST, (limit - RESERVE) // 2)
