"""The models: a supervisor for each, the fleet that knows them by name, and their memory."""
