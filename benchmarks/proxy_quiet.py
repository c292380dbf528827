"""The proxy's speed and its soak in one go, for a quiet quarter of an hour: nobody needs to watch.

    python -m benchmarks.proxy_quiet [SPEED_SECONDS [SOAK_SECONDS]]

`proxy_speed` with rounds of 5 s, then `proxy_soak` for 10 minutes, as two tables with what they were measured on. With
nginx installed (apt-get install nginx-light) it is in the first one. A machine that is busy with something else says
nothing: it is told how busy it was at the start.
"""

import multiprocessing
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.proxy_soak import soaked
from benchmarks.proxy_speed import compare, machine

QUIET = 0.5
"""Load average up to which a machine is taken to do nothing else."""


def main() -> None:
    """Measure, and print both."""
    seconds, soak = (float(given) for given in (*sys.argv[1:], *("5", "600")[len(sys.argv) - 1 :]))
    if (busy := os.getloadavg()[0]) > QUIET:
        print(f"this machine is busy (load {busy:.1f}): what follows says little", file=sys.stderr)
    multiprocessing.set_start_method("spawn", force=True)
    with TemporaryDirectory() as folder:
        print(f"Speed: {machine()}", flush=True)
        print("\n".join(compare(Path(folder), seconds)), flush=True)
        print(f"\nSoak: {machine()}; {soak:g} s\n", flush=True)
        print("\n".join(soaked(Path(folder), soak).table()))


if __name__ == "__main__":
    main()
