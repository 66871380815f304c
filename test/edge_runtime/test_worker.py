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

    worker = Worker(work)
    worker.start()
    assert not worker.give(1)
    assert begun.acquire(timeout=5)
    assert [worker.give(item) for item in (2, 3, 4)] == [False, True, True]
    go.release()
    assert begun.acquire(timeout=5)
    go.release()
    worker.stop()
    assert done == [1, 4]


def test_stop_finishes_the_item_in_work_and_start_begins_anew() -> None:
    begun = threading.Semaphore(0)
    done: list[int] = []

    def work(item: int) -> None:
        begun.release()
        done.append(item)

    worker = Worker(work)
    for item in (1, 2):
        worker.start()
        worker.give(item)
        assert begun.acquire(timeout=5)
        worker.stop()
        assert done[-1] == item
    worker.stop()
