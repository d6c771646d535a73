"""The HTTP edge: a fast front that goes straight to the gateway, and a Quart-trio app under Hypercorn for the rest.

It only adapts; the rules are in `gateway`.
"""
