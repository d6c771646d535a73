"""The APIs that clients can use. To add one, write a file beside these and add its routes to this list."""

from . import anthropic, llama_cpp, lmstudio, ollama, openai

ROUTES = (*openai.ROUTES, *llama_cpp.ROUTES, *anthropic.ROUTES, *lmstudio.ROUTES, *ollama.ROUTES)
