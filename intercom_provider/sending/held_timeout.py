"""Airflow's time-out, held back during a step that must not be interrupted."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import FrameType, TracebackType


class HeldTimeout:
    """
    Holds back an ``execution_timeout``, which Airflow raises between any two lines of a task. A context manager.

    Raised between a message's answer and its record, it would leave a sent message without a record. The code inside
    reads :attr:`timed_out` instead and ends by itself; on exit the time-out is raised as Airflow would have raised it.
    """

    def __init__(self) -> None:
        self.timed_out = False
        """Whether the time is up."""

        self._handler_before: object = None

    def __enter__(self) -> Self:
        # Python runs signal handlers in the main thread, and lets no other thread set them.
        if threading.current_thread() is threading.main_thread():
            self._handler_before = signal.signal(signal.SIGALRM, self._hold)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        before = self._handler_before
        if callable(before) or isinstance(before, int):
            signal.signal(signal.SIGALRM, before)
        if self.timed_out and callable(before):
            before(signal.SIGALRM, None)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.timed_out = True
