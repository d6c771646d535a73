"""How a model becomes a command line, and how to talk to a running engine.

No imports here: `python -m llmsup.engines.bundled.process` must start in a tenth of a second.
"""
