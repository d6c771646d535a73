"""Folders of model files: walked, surveyed, and put together to models."""
