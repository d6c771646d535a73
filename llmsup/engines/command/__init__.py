"""A user's own command as an engine."""
