"""Airflow's time-out, held back while a step must not be torn apart."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import FrameType, TracebackType


class HeldTimeout:
    """
    Holds an ``execution_timeout`` back, which Airflow raises between any two lines of a task. A context manager.

    Between a message's answer and its record there is no good moment for it. What runs meanwhile asks
    :attr:`timed_out`, and comes to an end; then the time-out is raised as Airflow would have.
    """

    def __init__(self) -> None:
        self.timed_out = False
        """Whether time is up."""

        self._before: object = None

    def __enter__(self) -> Self:
        # Python runs handlers in the main thread, and lets no other one set them.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGALRM, self._strike)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        before = self._before
        if callable(before) or isinstance(before, int):
            signal.signal(signal.SIGALRM, before)
        if self.timed_out and callable(before):
            before(signal.SIGALRM, None)

    def _strike(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.timed_out = True
