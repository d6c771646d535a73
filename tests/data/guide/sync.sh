#!/bin/sh
~/src/lm-studio-ollama-bridge/lm-studio-ollama-bridge
curl -X POST http://127.0.0.1:5005/reload-config
