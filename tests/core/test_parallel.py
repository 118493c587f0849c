"""Items processed in threads: order of results, first error, immediate stop."""

from __future__ import annotations

import signal
import threading

import pytest

from nablafx_core.parallel import mapped

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_results_are_in_order_and_each_item_is_taken_once(threads):
    taken = []

    def square(number):
        taken.append(number)
        return number**2

    assert mapped(square, range(100), "Squaring", threads) == [number**2 for number in range(100)]
    assert sorted(taken) == list(range(100))
    assert mapped(square, [], "Squaring", threads) == []


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_first_error_is_raised_and_nothing_else_begun(threads):
    taken = []

    def fails(number):
        taken.append(number)
        if number in (5, 6):
            raise ValueError(f"item {number}")
        return number

    with pytest.raises(ValueError, match="item 5"):
        mapped(fails, range(10_000), "Failing", threads)
    assert len(taken) < 10_000


def test_items_run_at_the_same_time():
    """Each waits for the other."""
    both = threading.Barrier(2)
    assert mapped(lambda number: both.wait(timeout=60) >= 0, range(2), "Meeting", 2) == [True, True]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="the system sends no signal to a thread")
def test_ctrl_c_gives_up_what_is_in_progress_and_lets_it_tidy_up():
    begun, never, tidied = threading.Barrier(3), threading.Event(), []

    def stuck(number):
        try:
            begun.wait(timeout=60)
            while not never.wait(0.01):
                pass
        finally:
            tidied.append(number)

    def interrupt():
        begun.wait(timeout=60)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored, as in the background
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            mapped(stuck, range(100), "Waiting", 2)
        assert sorted(tidied) == [0, 1]
    finally:
        never.set()
        signal.signal(signal.SIGINT, before)
