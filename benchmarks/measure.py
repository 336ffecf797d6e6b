"""Measure functions: several rounds in turns, and in a process of their own where memory or imports matter."""

from __future__ import annotations

import gc
import multiprocessing
import signal
import sys
import time
from collections import defaultdict
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection

P = ParamSpec("P")
T = TypeVar("T")

ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """
    The results of several rounds.

    :param values: One number per round.
    """

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return median(self.values)

    @property
    def mean(self) -> float:
        """The mean of the rounds."""
        return fmean(self.values)

    def told(self, form: str) -> str:
        """
        Format the sample for a table: the median, and with several rounds the minimum and the maximum.

        :param form: The format of a number, such as ``{:.0f}/s``.
        :return: The text.
        """
        lowest, highest = form.format(min(self.values)), form.format(max(self.values))
        return form.format(self.median) + (f" ({lowest} to {highest})" if len(self.values) > 1 else "")


class Cpu:
    """The CPU of this process for a unit of work, of several contenders in several rounds."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def spent(self, name: str, number: int) -> Iterator[None]:
        """
        Measure a round during a ``with`` block.

        :param name: The contender.
        :param number: How many units the round has.
        """
        began = time.process_time()
        yield
        self._values[name].append(1e6 * (time.process_time() - began) / number)

    def sample(self, name: str) -> Sample:
        """
        Return a contender's microseconds a unit.

        :param name: The contender.
        :return: One number per round.
        """
        return Sample(tuple(self._values[name]))

    def told(self, ours: str, other: str) -> str:
        """
        Format the medians of two contenders for a row.

        :param ours: The first.
        :param other: The second.
        :return: The text.
        """
        return f"{self.sample(ours).median:.0f} us, {self.sample(other).median:.0f} us"


def in_turns(contenders: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, Sample]:
    """
    Measure several functions in turns: all of them in each round, in the opposite order every other round.

    :param contenders: The functions by name; a call returns one number.
    :param rounds: The number of rounds (default 5).
    :return: The sample of each function.
    """
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            # Otherwise the next contender would pay for collecting this one's garbage.
            gc.collect()
            found[name].append(contenders[name]())
            say(f"  round {number + 1} of {rounds}: {name}: {found[name][-1]:.4g}")
    return {name: Sample(tuple(values)) for name, values in found.items()}


def alone(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """
    Call a function in a new process, which ends when the function returns.

    :param function: A function at the top of a module.
    :param arguments: Its arguments.
    :param options: Its arguments by name.
    :return: The return value.
    :raises ChildProcessError: When the function raises; the traceback is on stderr.
    """
    with beside(function, *arguments, **options) as answer:
        return answer()


@contextmanager
def beside(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> Iterator[Callable[[], T]]:
    """
    Call a function in a new process during a ``with`` block; see :func:`alone`.

    :param function: A function at the top of a module.
    :param arguments: Its arguments.
    :param options: Its arguments by name.
    :return: A function that waits for the return value and returns it.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_result, args=(sender, function, arguments, options))
    process.start()
    sender.close()

    def receive() -> T:
        try:
            result: T = receiver.recv()
        except EOFError:
            # The process prints its traceback before it ends.
            process.join()
            raise ChildProcessError(f"{function.__module__}.{function.__qualname__} failed") from None
        return result

    try:
        yield receive
    except BaseException:
        process.terminate()
        raise
    finally:
        process.join()


def _send_result(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...], options: Any) -> None:
    # SIGTERM raises SystemExit, so that the processes that the function has started end as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sender.send(function(*arguments, **options))


class CommandRun(NamedTuple):
    """
    A command that has ended.

    :param seconds: Its seconds of CPU, Airflow's start included.
    :param mebibytes: The most memory that it has used.
    """

    seconds: float
    mebibytes: float


def run_command(arguments: Sequence[str], output: Path) -> CommandRun:
    """
    Run a command of ``python -m intercom_provider``, in the process of :func:`alone`.

    :param arguments: The command and its options.
    :param output: The file of its standard output.
    :return: What it used.
    """
    from intercom_provider.__main__ import main

    with output.open("w", encoding="utf-8") as file, redirect_stdout(file):
        main(arguments)
    return CommandRun(time.process_time(), memory("VmHWM"))


def memory(name: Literal["VmRSS", "VmHWM"]) -> float:
    """
    Read the memory of this process.

    :param name: ``VmRSS`` for the current size, ``VmHWM`` for the largest size so far.
    :return: MiB.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(status.partition(f"{name}:")[2].split()[0]) / 1024


def say(text: str) -> None:
    """
    Print a line of progress to the standard error.

    :param text: The line.
    """
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
