"""llama-server: its flags under all their names, and what a build of it understands."""
