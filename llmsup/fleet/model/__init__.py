"""One model: its states, its queue, the run of its engine, and the supervisor that owns them."""
