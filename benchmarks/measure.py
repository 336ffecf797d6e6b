"""How things are measured: in turns, in rounds, and where it matters in a process of their own."""

from __future__ import annotations

import gc
import multiprocessing
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.connection import Connection

P = ParamSpec("P")
T = TypeVar("T")

ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """
    What several rounds of one thing gave.

    :param values: One number a round.
    """

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The one in the middle."""
        return median(self.values)

    @property
    def mean(self) -> float:
        """All of them together, divided by their number."""
        return fmean(self.values)

    def told(self, form: str) -> str:
        """
        Write it for a table: the median, and where there are several rounds the least and the most.

        :param form: How a number is written, such as ``{:.0f}/s``.
        :return: The text.
        """
        least, most = form.format(min(self.values)), form.format(max(self.values))
        return form.format(self.median) + (f" ({least} to {most})" if len(self.values) > 1 else "")


def in_turns(contenders: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, Sample]:
    """
    Measure several things side by side: every round all of them, every other round in the opposite order.

    :param contenders: What gives one number a call, by its name.
    :param rounds: How many rounds (default 5).
    :return: What each gave.
    """
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            # What one leaves behind is not the next one's to clear away.
            gc.collect()
            found[name].append(contenders[name]())
            say(f"  round {number + 1} of {rounds}: {name}: {found[name][-1]:.4g}")
    return {name: Sample(tuple(values)) for name, values in found.items()}


def alone(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """
    Call a function in a new process, which ends with it.

    :param function: What to call; a module's own function.
    :param arguments: Its arguments.
    :param options: Its arguments by name.
    :return: What it returns.
    :raises ChildProcessError: When it raises; the traceback is on stderr.
    """
    with beside(function, *arguments, **options) as answer:
        return answer()


@contextmanager
def beside(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> Iterator[Callable[[], T]]:
    """
    Call a function in a new process while something else goes on here; see :func:`alone`.

    :param function: What to call; a module's own function.
    :param arguments: Its arguments.
    :param options: Its arguments by name.
    :return: What waits for its answer, and gives it.
    """
    context = multiprocessing.get_context("spawn")
    answer, teller = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(teller, function, arguments, options))
    process.start()
    teller.close()

    def hear() -> T:
        try:
            told: T = answer.recv()
        except EOFError:
            # It says why before it ends.
            process.join()
            raise ChildProcessError(f"{function.__module__}.{function.__qualname__} failed") from None
        return told

    try:
        yield hear
    except BaseException:
        process.terminate()
        raise
    finally:
        process.join()


def _tell(teller: Connection, function: Callable[..., Any], arguments: tuple[Any, ...], options: Any) -> None:
    # Told to end, it ends what it has started as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    teller.send(function(*arguments, **options))


def memory(name: Literal["VmRSS", "VmHWM"]) -> float:
    """
    Tell how much memory this process holds.

    :param name: ``VmRSS`` for now, ``VmHWM`` for the most that it ever was.
    :return: MiB.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(status.partition(f"{name}:")[2].split()[0]) / 1024


def say(text: str) -> None:
    """
    Tell whoever waits for the table how far it is.

    :param text: One line.
    """
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
