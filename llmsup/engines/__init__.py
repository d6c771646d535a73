"""How a model becomes a command line, and how a running engine is spoken to.

This file stays empty of imports: `python -m llmsup.engines.bundled.process` must start in a tenth of a second.
"""
