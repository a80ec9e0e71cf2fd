"""Run tests again and again, in random order, until one fails.

Threads are made to take turns five hundred times as often as they do.
Where a run fails, its seed is told, which repeats the order.
"""

import argparse
import random
import subprocess
import sys
from collections.abc import Sequence

#: Seconds after which a thread that waits is given the GIL.
SWITCH = 1e-5
RUN = (
    "import sys, pytest; "
    f"sys.setswitchinterval({SWITCH}); "
    "sys.exit(pytest.main(sys.argv[1:]))"
)


def run(seed: int, chosen: Sequence[str]) -> int:
    """Run the chosen tests in one order; return pytest's status."""
    return subprocess.run(
        [
            *(sys.executable, "-c", RUN, "-q", "--exitfirst"),
            *("-p", "no:cacheprovider", "--random-order-bucket=global"),
            *(f"--random-order-seed={seed}", *chosen),
        ]
    ).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as often as is asked for; return 1 at the first failure."""
    parser = argparse.ArgumentParser(
        prog="nox -s soak --", description=__doc__
    )
    parser.add_argument("--count", type=int, default=200, metavar="N")
    parser.add_argument(
        "--seed", type=int, help="repeat this one order"
    )
    parser.add_argument("tests", nargs="+")
    given = parser.parse_args(arguments)
    seeds = (
        [random.getrandbits(32) for _ in range(given.count)]
        if given.seed is None
        else [given.seed]
    )
    for number, seed in enumerate(seeds, 1):
        print(f"run {number} of {len(seeds)}, seed {seed}", flush=True)
        if run(seed, given.tests):
            print(
                "error: a test failed; to repeat the order: nox -s soak "
                f"-- --seed {seed}",
                file=sys.stderr,
            )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
