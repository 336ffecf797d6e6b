"""The bar that shows in a terminal how far a wait has come, and why it still waits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from intercom_provider.waiting.delivery_wait import DeliveryWait

_MAX_WIDTH_CHARS: Final = 100
_MIN_BAR_CHARS: Final = 10
# What is done and what is left differ in shape, so that the bar needs no colour.
_BLOCKS: Final = ("█", "░")
_ASCII_BLOCKS: Final = ("#", ".")


class StatusBar:
    """
    A bar with its share and time in one line, and below it the counts and what is waited for.

    Rich's own bar shares one line with the counts, which leave nothing of it in a narrow terminal, and it shows what is
    left by colour alone.
    """

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._name, self._text = "polling", ""
        self._settled = self._total = 0

    def update(self, wait: DeliveryWait, line: str) -> None:
        """
        Take over the state of a wait.

        :param wait: The wait.
        :param line: Its progress as a line for the log: the target, the counts and what is waited for.
        """
        self._name = str(wait.target)
        self._text = line.removeprefix(f"{self._name}: ")
        if wait.summary is not None:
            self._settled = wait.summary.total - wait.criteria.pending(wait.summary)
            self._total = max(wait.summary.total, wait.criteria.expected_count or 0)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, _MAX_WIDTH_CHARS)
        settled, total = self._settled, self._total or 1
        minutes, seconds = divmod(int(time.monotonic() - self._begun), 60)
        # Rounded down, because 100 % means that nothing is pending.
        end = f" {settled * 100 // total:>3} % {minutes // 60}:{minutes % 60:02}:{seconds:02}"
        name = self._name[: max(0, width - len(end) - _MIN_BAR_CHARS - 1)]
        length = max(0, width - len(name) - 1 - len(end))
        full, empty = _ASCII_BLOCKS if options.ascii_only else _BLOCKS
        done = settled * length // total
        yield Text.assemble(f"{name} ", (full * done, "green"), empty * (length - done), end, no_wrap=True)
        if self._text:
            yield Text(self._text, style="dim")
