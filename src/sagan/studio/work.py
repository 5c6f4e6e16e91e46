"""One thread that computes, and the queue before it.

Shared by the studio and by the service: ``await worker.done(request, job)`` in a route.
"""

import asyncio
import concurrent.futures
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastapi import Request

from sagan.studio.guard import RefusedError

MOST_WAITING = 32
"""Jobs that wait or are computed."""
LONGEST = 60.0
"""Seconds from asking to the answer."""

Result = TypeVar("Result")


class Worker:
    """Does jobs one after the other in a thread of its own.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Jobs that wait or are computed."""
        return self._waiting

    async def done(
        self, request: Request, job: Callable[[], Result], *, seconds: float = LONGEST
    ) -> Result:
        """Waits for a job's result; nobody computes for an asker who has gone before it began.

        Args:
            request: Whose body has been read.
            job: To be computed.
            seconds: How long to wait.

        Raises:
            RefusedError: Too many jobs wait (503), it took too long (504), or the asker is gone.
            Exception: Whatever the job raises.
        """
        if self._waiting >= MOST_WAITING:
            raise RefusedError(503, f"{MOST_WAITING} requests wait already; try again")
        self._waiting += 1
        future = self._thread.submit(job)
        future.add_done_callback(self._finished(asyncio.get_running_loop()))
        leaving = asyncio.ensure_future(_left(request))
        result = asyncio.wrap_future(future)
        try:
            await asyncio.wait(
                {result, leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if result.done():
                return result.result()
            if leaving.done():
                raise RefusedError(499, "nobody waits for the answer")
            raise RefusedError(504, f"this took over {seconds:g} s; ask for less")
        finally:
            leaving.cancel()
            future.cancel()
            result.cancel()

    def now(self, job: Callable[[], Result]) -> concurrent.futures.Future[Result]:
        """Puts a job of the program itself into the queue."""
        return self._thread.submit(job)

    def close(self) -> None:
        """Waits for the job that is being done and drops the others."""
        self._thread.shutdown(cancel_futures=True)

    def _finished(self, loop: asyncio.AbstractEventLoop) -> Callable[[object], None]:
        def count() -> None:
            self._waiting -= 1

        def tell(_: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(count)

        return tell


async def _left(request: Request) -> None:
    """Returns when the asker has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
