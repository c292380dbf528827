"""Rewards: from a rollout to a number in [0, 1], higher is better."""
