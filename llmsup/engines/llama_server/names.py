"""What llama-server is called: as a program, in a config, and to people."""

NAME = "llama-server"
