"""What every inference request passes through, whatever front end took it: request → model → engine → bytes.

One entry, `gateway.Gateway.exchange`: a request head and a stream of body bytes in; status, headers and an async
iterator of bytes out. Nothing here knows of Quart.
"""
