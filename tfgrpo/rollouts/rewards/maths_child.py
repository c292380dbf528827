"""The process of the reward `math`: a line of JSON in, one out; started with an empty line, which it repeats."""

import json
import logging
import resource
import sys

_BYTES = 2 * 1024**3


def is_right(wanted: list[str], said: str) -> bool:
    """Whether what was said equals one of what was wanted."""
    from math_verify import parse, verify

    found = parse(said)
    return any(verify(parse(one), found, strict=True) for one in wanted) if found else False


def _answered(line: str) -> dict[str, bool]:
    request = json.loads(line)
    try:
        return {"right": bool(is_right(request["wanted"], request["said"]))}
    except Exception:  # SymPy may raise anything of a formula that it cannot read
        return {"right": False}


def _main() -> None:
    """Answer until there is no more to read."""
    resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
    logging.disable(logging.CRITICAL)
    out, sys.stdout = sys.stdout, sys.stderr
    import math_verify  # noqa: F401  # loaded before the first question, which has a time limit

    for line in sys.stdin:
        told = json.dumps(_answered(line)) if line.strip() else ""
        out.write(f"{told}\n")
        out.flush()


if __name__ == "__main__":
    _main()
