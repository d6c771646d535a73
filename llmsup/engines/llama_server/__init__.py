"""llama-server: its flags in all their spellings, and which of them a build understands."""
