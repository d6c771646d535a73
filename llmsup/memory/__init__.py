"""Memory: what models cost (`cost`), what the machine has and how short it is (`machine`), and the pure policy that
decides which models to admit and which to unload (`policy`).
"""
