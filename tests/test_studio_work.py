import asyncio
import threading

import pytest

from sagan.studio import work
from sagan.studio.guard import RefusedError
from sagan.studio.work import Worker


class Asker:
    """A request whose asker leaves when told."""

    def __init__(self):
        self.leaves = asyncio.Event()

    async def receive(self):
        await self.leaves.wait()
        return {"type": "http.disconnect"}


@pytest.fixture
def worker():
    found = Worker("test")
    yield found
    found.close()


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


def test_a_job_is_done_in_the_one_thread(worker):
    async def ask():
        names = [await worker.done(Asker(), lambda: threading.current_thread().name)] * 3
        return set(names)

    assert asyncio.run(ask()) == {"test_0"}


def test_the_fault_of_a_job_is_raised(worker):
    with pytest.raises(ZeroDivisionError):
        asyncio.run(worker.done(Asker(), lambda: 1 // 0))
    assert asyncio.run(worker.done(Asker(), lambda: 7)) == 7


def test_nobody_computes_for_an_asker_who_left(worker):
    done, gate = [], threading.Event()

    async def ask():
        asker = Asker()
        first = asyncio.create_task(worker.done(Asker(), gate.wait))
        second = asyncio.create_task(worker.done(asker, lambda: done.append("second")))
        await until(lambda: worker.waiting == 2)
        asker.leaves.set()
        with pytest.raises(RefusedError, match="nobody"):
            await second
        await until(lambda: worker.waiting == 1)
        gate.set()
        await first
        await worker.done(Asker(), lambda: done.append("third"))

    asyncio.run(ask())
    assert done == ["third"]


def test_a_full_queue_refuses(worker, monkeypatch):
    monkeypatch.setattr(work, "MOST_WAITING", 2)
    gate = threading.Event()

    async def ask():
        both = [asyncio.create_task(worker.done(Asker(), gate.wait)) for _ in range(2)]
        await until(lambda: worker.waiting == 2)
        with pytest.raises(RefusedError) as caught:
            await worker.done(Asker(), gate.wait)
        assert caught.value.status == 503
        gate.set()
        await asyncio.gather(*both)
        await until(lambda: worker.waiting == 0)
        assert await worker.done(Asker(), lambda: 7) == 7

    asyncio.run(ask())


def test_a_job_that_takes_too_long_is_given_up(worker):
    gate = threading.Event()

    async def ask():
        with pytest.raises(RefusedError, match=r"over 0\.01 s") as caught:
            await worker.done(Asker(), gate.wait, seconds=0.01)
        assert caught.value.status == 504
        assert worker.waiting == 1  # it cannot be stopped, and others wait for it
        gate.set()
        assert await worker.done(Asker(), lambda: 7) == 7

    asyncio.run(ask())
