"""The loop: a plan becomes a run, its steps make rollouts and learn from them, and the gate has the last word."""
