"""What a model costs in memory: declared, measured earlier or estimated from its header; and measuring its engine."""
