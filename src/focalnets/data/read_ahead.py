"""Reading what comes next in threads while the network works."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Caught = TypeVar("Caught", bound=Exception)

__all__ = ["read_ahead"]


def read_ahead(
    read: Callable[[int], Item],
    length: int,
    ahead: int,
    *,
    catch: type[Caught] | tuple[type[Caught], ...],
    threads: int = 4,
) -> Iterator[tuple[int, Item | Caught]]:
    """Yield each number from 0 with what ``read`` returns for it, or with the error of a kind in ``catch``, in order.

    Args:
        read: Reads the item of a number; called in threads.
        length: Number of items.
        ahead: Items that are read in advance, at most.
        catch: Errors that are handed over; any other one ends the iteration.
        threads: Threads that read.
    """
    with ThreadPoolExecutor(max_workers=threads) as pool:
        waiting: collections.deque[tuple[int, Future[Item]]] = collections.deque()

        def take() -> tuple[int, Item | Caught]:
            number, future = waiting.popleft()
            try:
                return number, future.result()
            except catch as error:
                return number, error

        try:
            for number in range(length):
                waiting.append((number, pool.submit(read, number)))
                if len(waiting) > ahead:
                    yield take()
            while waiting:
                yield take()
        finally:
            for _, future in waiting:
                future.cancel()
