from __future__ import annotations

import threading

from edge_runtime.worker import Worker


def test_the_newest_waiting_item_wins_and_the_others_are_reported() -> None:
    begun, go = threading.Semaphore(0), threading.Semaphore(0)
    done: list[int] = []

    def work(item: int) -> None:
        begun.release()
        go.acquire()
        done.append(item)

    worker = Worker(work, print)
    worker.start()
    assert worker.give([1]) == 0
    assert begun.acquire(timeout=5)
    # Those that come together are all worked on, unless newer ones come.
    assert [worker.give(items) for items in ([2], [3, 4], [5, 6])] == [0, 1, 2]
    for _ in range(2):
        go.release()
        assert begun.acquire(timeout=5)
    go.release()
    worker.stop()
    assert done == [1, 5, 6]


def test_an_item_that_fails_is_reported_and_the_next_one_is_worked_on() -> None:
    failures: list[Exception] = []
    done = threading.Event()

    def work(item: int) -> None:
        if item == 1:
            raise RuntimeError("publisher is gone")
        done.set()

    worker = Worker(work, failures.append)
    worker.start()
    worker.give([1, 2])
    assert done.wait(5)
    worker.stop()
    assert [str(error) for error in failures] == ["publisher is gone"]


def test_stop_finishes_the_item_in_work_and_start_begins_anew() -> None:
    begun = threading.Semaphore(0)
    done: list[int] = []

    def work(item: int) -> None:
        begun.release()
        done.append(item)

    worker = Worker(work, print)
    for item in (1, 2):
        worker.start()
        worker.give([item])
        assert begun.acquire(timeout=5)
        worker.stop()
        assert done[-1] == item
    worker.stop()
