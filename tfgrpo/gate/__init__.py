"""The gate: a candidate goes live only when a bet on held-out tasks has shown that it is better."""
