"""llama-server: its flags in all their spellings, and which of them a build understands."""

NAME = "llama-server"
"""Its name: as a program, in a config, and for people."""
