"""What an upstream honours, measured; and whether a token prior fits it."""
