import threading
import time

import pytest

from multithreading.lab.recorder import Recorder, Span


def test_a_span_has_the_thread_the_state_and_the_times() -> None:
    recorder = Recorder()
    before = time.perf_counter()
    with recorder.span("working"):
        during = time.perf_counter()
    after = time.perf_counter()
    (span,) = recorder.spans
    assert span == Span(
        threading.current_thread().name, "working", span.start, span.end
    )
    assert before <= span.start <= during <= span.end <= after


def test_a_lane_can_be_named() -> None:
    recorder = Recorder()
    with recorder.span("working", lane="printer"):
        pass
    assert recorder.spans[0].lane == "printer"


def test_a_block_that_raises_is_noted_and_raises() -> None:
    recorder = Recorder()
    with pytest.raises(KeyError), recorder.span("failing"):
        raise KeyError
    assert [span.state for span in recorder.spans] == ["failing"]


def test_threads_lose_no_span() -> None:
    recorder = Recorder()
    together = threading.Barrier(4)

    def work() -> None:
        together.wait(10)
        for _ in range(100):
            with recorder.span("working"):
                pass

    threads = [
        threading.Thread(target=work, name=f"worker {n}")
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lanes = [span.lane for span in recorder.spans]
    assert {name: lanes.count(name) for name in set(lanes)} == {
        f"worker {n}": 100 for n in range(4)
    }
