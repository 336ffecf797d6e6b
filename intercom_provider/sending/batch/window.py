"""The local times between which the messages of a batch go out, each by the time zone of the person whom it is for."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from intercom_provider.api.values import is_missing
from intercom_provider.ledger.repeat_after import read_timezone
from intercom_provider.sending.window import SendWindow, read_hours

if TYPE_CHECKING:
    from datetime import time as LocalTime  # noqa: N812 - the module time is needed, too
    from datetime import tzinfo

    from intercom_provider.api.flow import Request
    from intercom_provider.sending.batch.input import Item
    from intercom_provider.sending.batch.recorder import Recorder

_TOO_LATE: Final = "not_after comes before the window opens"


class BatchWindow:
    """
    A window in as many time zones as the messages of a batch have.

    When it changes next is computed once for each zone and not for each message, of which there are many more.

    :param opens: The local time from which messages go out.
    :param closes: The local time from which they do not.
    :param zone: The time zone of messages that have none; None where each has its own.
    """

    def __init__(self, opens: LocalTime, closes: LocalTime, zone: tzinfo | None) -> None:
        self._hours = opens, closes
        self._zone = zone
        self._windows: dict[str | None, SendWindow] = {}
        # By zone: from when until when the window is as it is, and whether it is open.
        self._known: dict[str | None, tuple[datetime, datetime, bool]] = {}

    @property
    def needs_timezone(self) -> bool:
        """Whether each message has to have a time zone of its own."""
        return self._zone is None

    def opens_at(self, timezone: str | None) -> datetime | None:
        """
        Return when a message may go out.

        :param timezone: The time zone of the message; None for that of the batch.
        :return: The moment; None when it may go out now.
        """
        until, is_open = self._look(timezone)
        return None if is_open else until

    def opens_after(self, timezone: str | None, moment: datetime) -> datetime:
        """
        Return when a message may go out from a later moment on.

        :param timezone: The time zone of the message; None for that of the batch.
        :param moment: The moment.
        :return: When it may.
        """
        return self._window_in(timezone).opens_at(moment)

    def closes_at(self, timezone: str | None) -> datetime | None:
        """
        Return until when a message may go out.

        :param timezone: The time zone of the message; None for that of the batch.
        :return: The moment; None when it may not go out now.
        """
        until, is_open = self._look(timezone)
        return until if is_open else None

    def _look(self, timezone: str | None) -> tuple[datetime, bool]:
        now = datetime.fromtimestamp(time.time(), UTC)
        known = self._known.get(timezone)
        # The clock may be set back as well.
        if known is None or not known[0] <= now < known[1]:
            window = self._window_in(timezone)
            known = self._known[timezone] = now, window.changes_at(now), window.is_open(now)
        return known[1:]

    def _window_in(self, timezone: str | None) -> SendWindow:
        found = self._windows.get(timezone)
        if found is None:
            zone = read_timezone(timezone) if timezone is not None or self._zone is None else self._zone
            found = self._windows[timezone] = SendWindow(*self._hours, zone)
        return found


class HeldMessages:
    """
    The messages that wait for their window.

    :param window: The window; None where messages may go out at any time.
    :param not_after: Epoch seconds after which nothing is sent; None for no limit.
    :param recorder: Records what need not wait, as its window opens too late.
    """

    def __init__(self, window: BatchWindow | None, not_after: float | None, recorder: Recorder) -> None:
        self._window = window
        self._not_after = not_after
        self._recorder = recorder
        self.count = 0
        """How many wait."""

        self.opens_at: datetime | None = None
        """When the first of them may go out; None while none waits."""

    def hold(self, item: Item) -> bool:
        """
        Hold a message back while its window is closed, or record that it has expired.

        :param item: The message, of which no request is under way.
        :return: False for a message that may go out now.
        """
        opens_at = None if self._window is None else self._window.opens_at(item.timezone)
        if opens_at is None:
            return False
        self._hold_until(item, opens_at)
        return True

    def hold_expired(self, item: Item, request: Request) -> bool:
        """
        Hold a message back whose turn would come after the window has closed.

        :param item: The message.
        :param request: Its request, whose deadline :meth:`limit` has set, and which was not made.
        :return: False for a message that has expired.
        """
        closes_at = request.deadline
        if self._window is None or closes_at is None or closes_at == self._not_after:
            return False
        self._hold_until(item, self._window.opens_after(item.timezone, datetime.fromtimestamp(closes_at, UTC)))
        return True

    def _hold_until(self, item: Item, opens_at: datetime) -> None:
        if self._not_after is not None and opens_at.timestamp() >= self._not_after:
            when = opens_at.isoformat(timespec="minutes")
            self._recorder.add(item, "expired", f"{_TOO_LATE} ({when})", shared_reason=_TOO_LATE)
        else:
            self.count += 1
            self.opens_at = opens_at if self.opens_at is None else min(self.opens_at, opens_at)

    def limit(self, item: Item, request: Request) -> Request:
        """
        Let a request not be begun once the window has closed, however long it waits for its turn.

        :param item: The message.
        :param request: Its next request.
        :return: The request with the earlier one of its own deadline and the closing time.
        """
        if self._window is None:
            return request
        closes_at = self._window.closes_at(item.timezone)
        deadline = time.time() if closes_at is None else closes_at.timestamp()
        return replace(request, deadline=deadline if request.deadline is None else min(deadline, request.deadline))


def read_batch_window(value: object, timezone: object) -> BatchWindow | None:
    """
    Read ``send_window`` and ``timezone`` of a batch.

    :param value: Two times, as :func:`intercom_provider.sending.window.read_window` reads them; None for no window.
    :param timezone: The time zone of messages that have none; None where each has its own.
    :return: The window; None when there is none.
    :raises InvalidInputError: When one of them cannot be read.
    """
    hours = read_hours(value)
    if hours is None:
        return None
    return BatchWindow(*hours, None if is_missing(timezone) else read_timezone(timezone))
