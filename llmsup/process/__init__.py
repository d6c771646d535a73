"""Operating-system processes and what it takes to own them; nothing in here is about models."""
