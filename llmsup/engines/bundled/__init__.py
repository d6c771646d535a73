"""The bundled engine: llama.cpp's server as packaged by xllamacpp, started with llama-server's flags."""
