"""Procedural tasks of reasoning-gym, and their families' own verifiers: `gym:FAMILY?size=50&seed=1`.

Needs the extra `tfgrpo[gym]`. `source` makes the tasks, `child` is the process that they are made in, `verifier` says
how right an answer is.
"""

SCHEME = "gym:"
"""What such a source begins with."""
GYM_REWARD = "gym"
"""Name of the reward by which these tasks are scored."""
