"""Folders of model files: walked, surveyed, and grouped into models."""
