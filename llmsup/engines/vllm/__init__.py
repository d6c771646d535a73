"""vLLM's server (`vllm serve`), for directories of safetensors.

Its facts are from its documentation (docs.vllm.ai: cli/serve, features/sleep_mode, serving/parallelism_scaling) and its
source (vllm/entrypoints, vllm/config), versions 0.10 to 0.33. It was never run here: it wants a GPU.
"""

NAME = "vllm"
