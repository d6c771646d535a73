"""Who is let in and who goes: frozen values in, a decision out. No clock, no files, no tasks."""
