"""llama-server's names: as a program, in a config, and for people."""

NAME = "llama-server"
