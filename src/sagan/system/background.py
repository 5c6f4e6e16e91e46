"""Work beside the main thread, whose error is not lost."""

from collections.abc import Callable
from threading import Thread


class BackgroundWork:
    """A function that runs in a thread of its own, from now on.

    Args:
        work: Takes nothing; what it gives is dropped.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="background")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # told by whoever asks
            self._error = error

    def raise_failed(self) -> None:
        """Raises the error that ended the work; returns at once where there is none so far.

        Raises:
            BaseException: What the work raised.
        """
        if self._error is not None:
            raise self._error

    def join(self) -> None:
        """Waits for the end; an error stays untold."""
        self._thread.join()

    def wait(self) -> None:
        """Waits for the end.

        Raises:
            BaseException: What the work raised.
        """
        self.join()
        self.raise_failed()
