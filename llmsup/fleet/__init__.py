"""The models: one supervisor each, and the fleet that knows them by name."""
