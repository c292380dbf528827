"""Groups of rollouts: made by a chat call or an agent, scored, and told as advantages."""
