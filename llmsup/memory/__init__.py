"""What models cost, and whether there is room for them.

Today: what a running engine uses, and an admission that always says yes. Readings, pressure and the policy that
picks victims come here.
"""
