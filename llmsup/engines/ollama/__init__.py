"""Ollama's build of llama-server, for the files that only it can run."""
