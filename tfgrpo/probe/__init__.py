"""What an upstream honours, as measured with a few calls, and the prior as it can honour it."""
