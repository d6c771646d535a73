"""What the control API's answers and bodies look like: mypy compares them with what makes them, and `web.openapi` tells
clients. Sizes are in bytes, durations in seconds, times Unix seconds; null means "not known" unless it says otherwise.
"""
