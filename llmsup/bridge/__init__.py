"""Ollama's models in LM Studio's folder, as links: the built-in bridge or the user's own program, on a schedule."""
