"""Conversations that survive an unload: what engines have computed of them, saved and given back."""
