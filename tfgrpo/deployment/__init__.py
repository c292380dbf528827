"""A prior in use: what feedback says of it and of its experiences, what the autopilot does, and the history of it."""
