"""Which models there are: GGUF headers, LM Studio's folders, Ollama's store, and the models' names."""
