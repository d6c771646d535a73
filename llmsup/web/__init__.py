"""The HTTP edge: a Quart-trio app under Hypercorn. It adapts; the rules are in `gateway`."""
