"""Operating-system processes and what it takes to own them: nothing here knows what a model is."""
