"""What a model will cost (its estimate), what all may (the ceiling), what a running engine uses (footprints), what the
machine says of its memory (readings), and the admission that a model asks before it starts, which says yes to everybody
for now; and the policy that will say more (whom to load, whom to unload), which only the simulator uses yet.

It does not know how a model is started, nor who asks for it.
"""
