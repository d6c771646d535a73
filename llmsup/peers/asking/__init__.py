"""How the kinds of peers are recognised, and how what they have is read from their answers: one file a kind.

`reading` < `kind` < the kinds < `recognise`.
"""
