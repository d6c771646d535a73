"""Ollama's API before engines that speak OpenAI's: its requests in their words, their answers in its own."""

from .routes import ROUTES

__all__ = ["ROUTES"]
