"""Computing the next items of an iterator in the background, while the last one is used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable

__all__ = ["prefetched"]

_POLL = 0.1
"""Seconds after which a waiting thread looks whether anyone still wants its items."""


class _End:
    """No more items; `error` is what stopped them, if anything did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetched[T](items: Iterable[T], ahead: int = 1) -> Generator[T]:
    """The same items in the same order, up to `ahead` of them computed in a thread beforehand.

    Errors are raised where the item was due. Closing the generator ends the thread.
    """
    line: queue.Queue[T | _End] = queue.Queue(maxsize=ahead)
    unwanted = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, line, unwanted), daemon=True)
    thread.start()
    try:
        while not isinstance(item := line.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        unwanted.set()
        thread.join()


def _fill[T](items: Iterable[T], line: queue.Queue[T | _End], unwanted: threading.Event) -> None:
    try:
        for item in items:
            if not _put(line, item, unwanted):
                break
        end = _End()
    except BaseException as error:
        end = _End(error)
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
    _put(line, end, unwanted)


def _put[T](line: queue.Queue[T | _End], item: T | _End, unwanted: threading.Event) -> bool:
    while not unwanted.is_set():
        try:
            line.put(item, timeout=_POLL)
        except queue.Full:
            continue
        return True
    return False
