"""Why a prompt was computed again: hashes of the last prompts, and what they tell.

`reader` turns a body into hashes, `chain` keeps those of each model's last conversations, `verdict` says where and why
two prompts part, and `watch` is what the gateway calls. None of it keeps a word of what was said.
"""
