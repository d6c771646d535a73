"""llama.cpp's RPC workers: started when a model wants one, watched, and ended when none has used them for a while."""
