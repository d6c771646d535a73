"""One model: its states, its request queue, the runs of its engine, and the supervisor that owns them."""
