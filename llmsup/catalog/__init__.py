"""Which models there are: GGUF headers, LM Studio's folders, Ollama's store, and their names.

It does not know which of them are loaded, nor by what engine.
"""
