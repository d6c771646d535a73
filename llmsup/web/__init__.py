"""The HTTP edge: a front that goes straight into the gateway, and for all else a Quart-trio app under Hypercorn.

It adapts; the rules are in `gateway`.
"""
