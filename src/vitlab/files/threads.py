"""Work on many files: in threads, in order, with a line every few seconds on how far it is."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from vitlab.machine import num_cores

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 5.0
AHEAD = 256  # files that the threads may be ahead of whoever takes the results: bounds the memory

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Item], Result], files: Sequence[Item], doing: str, start: int = 0
) -> Iterator[Result]:
    """Yields the result for each file from the one at `start` on, in order."""
    began = reported = time.monotonic()
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_cores()) as pool:
        try:
            for number in range(start, len(files)):
                while len(pending) < AHEAD and number + len(pending) < len(files):
                    pending.append(pool.submit(work, files[number + len(pending)]))
                yield pending.popleft().result()
                now, done = time.monotonic(), number + 1
                if now - reported > PROGRESS_SECONDS:
                    reported, rate = now, (done - start) / (now - began)
                    left = (len(files) - done) / rate
                    share = 100 * done // len(files)
                    log.info(
                        "%s images: %d of %d (%d %%), %.0f a second, %.0f s left",
                        doing,
                        done,
                        len(files),
                        share,
                        rate,
                        left,
                    )
        finally:
            for future in pending:
                future.cancel()
