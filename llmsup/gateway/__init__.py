"""What every inference request passes through, whichever front end received it: request → model → engine → bytes.

The one entry is `gateway.Gateway.exchange`: a request head and a stream of body bytes in; status, headers and an async
iterator of bytes out. Nothing here depends on Quart.
"""
