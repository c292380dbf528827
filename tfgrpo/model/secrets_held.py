"""The keys and passwords of the endpoints that this process calls: what no program that it starts may see."""

HELD: set[str] = set()
"""Whatever variable they came from; each connection adds its own."""
