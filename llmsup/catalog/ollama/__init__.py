"""Ollama's store, read without Ollama."""
