"""GGUF files: reading, summarising and caching their headers. Files are not trusted."""
