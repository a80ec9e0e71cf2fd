import pytest

from multithreading.lab import stretches as module
from multithreading.lab.kernel_view import (
    IO,
    LOCK,
    RUNNING,
    SLEEPING,
    VALID,
)
from multithreading.lab.stretches import Stretch, merged, overlaid


def lane(*parts):
    return [Stretch("a", *part) for part in parts]


def test_what_is_known_of_a_wait_replaces_what_the_kernel_saw():
    base = lane(
        (RUNNING, 0.0, 1.0), (LOCK, 1.0, 2.002), (SLEEPING, 2.002, 3.0)
    )
    wait = lane((LOCK, 0.999, 2.0, "lock", "b"))
    # the look after the wait's end came 2 ms later
    assert overlaid(base, wait) == lane(
        (RUNNING, 0.0, 0.999),
        (LOCK, 0.999, 2.0, "lock", "b"),
        (RUNNING, 2.0, 2.002),
        (SLEEPING, 2.002, 3.0),
    )
    long = lane((LOCK, 0.0, 9.0))
    two = lane((LOCK, 1.0, 2.0, "lock"), (LOCK, 3.0, 4.0, "lock"))
    assert overlaid(long, two) == lane(
        (LOCK, 0.0, 1.0),
        (LOCK, 1.0, 2.0, "lock"),
        (LOCK, 2.0, 3.0),
        (LOCK, 3.0, 4.0, "lock"),
        (LOCK, 4.0, 9.0),
    )


def test_stretches_lie_over_others():
    base = lane((RUNNING, 0.0, 2.0), (SLEEPING, 2.0, 4.0))
    over = lane((LOCK, 0.0, 1.0), (IO, 2.5, 3.0), (LOCK, 3.0, 3.5))
    assert overlaid(base, over) == lane(
        (LOCK, 0.0, 1.0),
        (RUNNING, 1.0, 2.0),
        (SLEEPING, 2.0, 2.5),
        (IO, 2.5, 3.0),
        (LOCK, 3.0, 3.5),
        (SLEEPING, 3.5, 4.0),
    )
    assert merged(
        lane(
            *((IO, 0.0, 1.0), (IO, 1.0, 2.0), (LOCK, 2.0, 3.0)),
            *((LOCK, 3.0, 4.0), (LOCK, 4.0, 5.0), (IO, 5.0, 6.0)),
        )
    ) == lane((IO, 0.0, 2.0), (LOCK, 2.0, 5.0), (IO, 5.0, 6.0))


@pytest.mark.parametrize(
    ("whole", "start", "end", "state"),
    [
        (LOCK, 5.0, 5.001, RUNNING),
        (LOCK, 0.0, VALID, LOCK),
        (LOCK, 0.0, 9.0, LOCK),
        (SLEEPING, 5.0, 5.001, SLEEPING),
        (SLEEPING, 5.0, 8.0, SLEEPING),
    ],
)
def test_a_little_left_of_a_wait_is_the_time_to_the_next_look(
    whole, start, end, state
):
    left = module._left(Stretch("a", whole, 0.0, 9.0), start, end)
    assert left == Stretch("a", state, start, end)
    short = Stretch("a", LOCK, 0.0, 0.001)
    assert module._left(short, 0.0, 0.001) == short
