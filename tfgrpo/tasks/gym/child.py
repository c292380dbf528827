"""The process that makes the tasks of one family; its arguments are family, size and seed.

Some families iterate over sets, so what they make hangs on PYTHONHASHSEED, which only a new process can set. After the
last blank line of standard output stands the JSON of `entries`, or of the `error`.
"""

import json
import sys


def made(family: str, size: int, seed: int) -> str:
    """The tasks of a family, or why there are none, as JSON."""
    import reasoning_gym

    try:
        dataset = reasoning_gym.create_dataset(family, size=size, seed=seed)
        return json.dumps({"entries": [dataset[place] for place in range(size)]}, allow_nan=False)
    except Exception as error:  # a family may raise anything
        return json.dumps({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    print(f"\n\n{made(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))}", end="")
