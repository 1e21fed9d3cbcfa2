"""How many threads to run: with more threads than cores, they spin while they wait for each other."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Found = TypeVar("Found")


def usable_cores() -> int:
    """Cores that this process may run on, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_side_by_side(work: Callable[[Task], Found], tasks: Iterable[Task]) -> list[Found]:
    """The results in order, one thread for each usable core; a single task runs where it is."""
    found = list(tasks)
    if len(found) <= 1:
        return [work(one) for one in found]
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(work, found))
