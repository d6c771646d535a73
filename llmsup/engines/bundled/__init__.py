"""The bundled engine: llama.cpp's own server out of xllamacpp, started with llama-server's flags."""
