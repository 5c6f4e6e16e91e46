"""What the service did, in the text format of Prometheus."""

import os
import sys
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection
from itertools import accumulate
from pathlib import Path

from sagan.studio.guard import AsgiApp, Message, Receive, Scope, Send

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the latencies that are counted together, in seconds."""
_OTHER = "other"
_GONE = 499


class Measures:
    """Counts of requests, their latencies and the pictures drawn.

    Attributes:
        pictures: That were drawn.
    """

    def __init__(self) -> None:
        self.since = time.time()
        self.pictures = 0
        self._requests: Counter[tuple[str, int]] = Counter()
        self._latencies: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}

    def note(self, route: str, status: int, seconds: float) -> None:
        """Counts one request that was answered."""
        self._requests[route, status] += 1
        self._seconds[route] = self._seconds.get(route, 0.0) + seconds
        counts = self._latencies.setdefault(route, [0] * (len(BUCKETS) + 1))
        counts[bisect_left(BUCKETS, seconds)] += 1

    def text(self, waiting: int) -> str:
        """All of it.

        Args:
            waiting: Requests that wait or are computed.
        """
        lines = _headed("sagan_requests_total", "counter", "Requests by route and status.")
        for (route, status), count in sorted(self._requests.items()):
            lines.append(f'sagan_requests_total{{route="{route}",status="{status}"}} {count}')
        lines += self._histogram("sagan_request_seconds")
        lines += _single("sagan_queue_length", "gauge", "Requests that wait or compute.", waiting)
        lines += _single("sagan_pictures_total", "counter", "Pictures drawn.", self.pictures)
        name, help_text = "process_start_time_seconds", "Start, in seconds since 1970."
        lines += _single(name, "gauge", help_text, round(self.since, 3))
        name, help_text = "process_resident_memory_bytes", "Memory that the process holds."
        lines += _single(name, "gauge", help_text, resident_memory())
        return "\n".join(lines) + "\n"

    def _histogram(self, name: str) -> list[str]:
        lines = _headed(name, "histogram", "Seconds from a request to the end of its answer.")
        for route, counts in sorted(self._latencies.items()):
            bounds = [*map(str, BUCKETS), "+Inf"]
            for bound, count in zip(bounds, accumulate(counts), strict=True):
                lines.append(f'{name}_bucket{{route="{route}",le="{bound}"}} {count}')
            lines.append(f'{name}_sum{{route="{route}"}} {self._seconds[route]:.6f}')
            lines.append(f'{name}_count{{route="{route}"}} {sum(counts)}')
        return lines


def measured(app: AsgiApp, measures: Measures, routes: Collection[str]) -> AsgiApp:
    """Counts what an app answers; paths that are none of its routes are counted together."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        begin, status = time.perf_counter(), _GONE

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, noted)
        finally:
            route = scope["path"] if scope["path"] in routes else _OTHER
            measures.note(route, status, time.perf_counter() - begin)

    return answer


def resident_memory() -> int:
    """Bytes of memory that this process holds; where the system does not tell, the most so far."""
    table = Path("/proc/self/statm")
    if table.exists():
        return int(table.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _headed(name: str, kind: str, meaning: str) -> list[str]:
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]


def _single(name: str, kind: str, meaning: str, value: float) -> list[str]:
    return [*_headed(name, kind, meaning), f"{name} {value}"]
