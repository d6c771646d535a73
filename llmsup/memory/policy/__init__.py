"""Which models to admit and which to evict: frozen values in, a decision out. No clock, no files, no tasks."""
