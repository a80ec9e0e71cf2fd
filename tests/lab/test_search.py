"""The search itself is tested by what ``test_schedules.py`` finds."""

from multithreading.lab.search import _Known


def test_a_number_for_each_key_and_others_for_none():
    known = _Known()
    numbers = [known.number(key) for key in "aba"]
    assert numbers == [0, 1, 0]
    others = [known.unique() for _ in range(4)]
    assert len({*numbers, *others}) == 6
