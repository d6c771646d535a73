"""GGUF files: their headers read, summarised and remembered. Files are not trusted."""
