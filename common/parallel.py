"""Work on many items by threads, in order and in bounded memory: OpenCV decodes without holding Python's lock.

Where the work is mostly Python's, `processes` pay.
"""
from __future__ import annotations

import collections
import concurrent.futures
import itertools
from typing import Callable, Iterable, Iterator, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
CHUNK = 16  # so that handing items over costs little


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item], workers: int,
                chunk: int = CHUNK) -> Iterator[Result]:
    """Yield function(item) in the order of `items`, computed by `workers` threads a few chunks ahead.

    chunk: items that a thread takes at a time.
    An exception of `function` is raised at its item's turn, whatever the number of workers.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    source = iter(items)
    chunks = iter(lambda: list(itertools.islice(source, chunk)), [])
    pending: collections.deque = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        try:
            pending.extend(pool.submit(_apply, function, chunk) for chunk in itertools.islice(chunks, 3 * workers))
            while pending:
                results, error = pending.popleft().result()
                pending.extend(pool.submit(_apply, function, chunk) for chunk in itertools.islice(chunks, 1))
                yield from results
                if error is not None:
                    raise error
        finally:
            for future in pending:
                future.cancel()


def _apply(function: Callable[[Item], Result], chunk: list[Item]) -> tuple[list[Result], Exception | None]:
    results = []
    for item in chunk:
        try:
            results.append(function(item))
        except Exception as error:  # handed over, so that results before it come out first
            return results, error
    return results, None
