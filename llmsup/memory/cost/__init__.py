"""What a model takes: declared, measured before, or estimated from its header; and what its engine is seen to take."""
