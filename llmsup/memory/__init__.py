"""What a model is going to cost (declared, measured before, or estimated), what a running engine does cost (meter,
footprints), what all may (the ceiling), what the machine says of its memory (readings) and how hard that makes it
pressed (watch, pressure); and the policy, which is pure: whom to let in, whom to unload.

It does not know how a model is started, nor who asks for it.
"""
