"""The one loop that steps a flow: clients, batches and triggers drive their flows with it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from intercom_provider.api.errors import IntercomError

Q = TypeVar("Q")
T = TypeVar("T")


class Stepper(Generic[Q, T]):
    """
    A flow between two of its steps. A step may raise the flow's error.

    :param flow: The flow, of which no step was taken.
    """

    def __init__(self, flow: Generator[Q, Any, T]) -> None:
        self._flow = flow
        self._results: list[T] = []
        self.asked: Q | None = None
        """What the flow asks for; None before the first step and after the last one."""

    @property
    def result(self) -> T:
        """The flow's result, when it has ended."""
        (result,) = self._results
        return result

    def begin(self) -> None:
        """Run the flow until it asks for the first time."""
        self._take(partial(next, self._flow))

    def answer(self, answer: object = None) -> None:
        """
        Take the next step.

        :param answer: What became of that for which the flow has asked.
        """
        self._take(partial(self._flow.send, answer))

    def fail(self, error: IntercomError) -> None:
        """
        Take the next step after an error.

        :param error: The error, which the flow may handle.
        """
        self._take(partial(self._flow.throw, error))

    def _take(self, step: Callable[[], Q]) -> None:
        try:
            self.asked = step()
        except StopIteration as end:
            self.asked = None
            self._results.append(end.value)
