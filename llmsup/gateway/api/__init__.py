"""The APIs that are spoken here. Another one is a file beside these, and its routes in this list."""

from . import anthropic, llama_cpp, ollama, openai

ROUTES = (*openai.ROUTES, *llama_cpp.ROUTES, *anthropic.ROUTES, *ollama.ROUTES)
