"""
One wait for delivery: when it looks, how patiently, and what a look means for it.

The sensor runs it on a worker and the trigger in the triggerer, so that both decide the same.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.api.errors import IntercomError
from intercom_provider.waiting.list_position import GLANCES_IN_A_ROW, Known, Place
from intercom_provider.waiting.poll import Care, Glance, Look, Observe, Watch
from intercom_provider.waiting.statuses import Criteria, Growth, Summary
from intercom_provider.waiting.wait import Verdict, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from intercom_provider.api.parallel import Wide

log = logging.getLogger(__name__)

NOT_YET_FOR: Final = 600.0
"""Seconds for which a WhatsApp id that Intercom does not know counts as "not yet"."""

PENDING_A_POLL: Final = 2_500
"""Single messages that a poll finds pending before it asks for no more: a quarter of what Intercom takes a minute."""


@dataclass(slots=True, kw_only=True)
class Wait(Waiting):
    """
    A wait as it goes on: what is looked at, until when, and what is known so far.

    :param watch: What is looked at.
    :param criteria: When it is over.
    :param growth: Since when the number of messages has not grown.
    :param last: The last summary; None when there is none yet.
    :param seen: Epoch seconds from which it is.
    :param doubt: What the last full look could not believe; None when there was nothing.
    :param believed: Whether what the last full look saw is taken for how it is, in spite of a doubt.
    :param place: Where a long list has something pending; None to read it in full.
    :param known: What is known of single messages; None when that is nothing.
    :param told: Statuses nobody knew, already told.
    :param pending_a_poll: After how many single messages that are still pending a poll asks for no more.
    """

    watch: Watch
    criteria: Criteria
    growth: Growth = field(default_factory=Growth)
    last: Summary | None = None
    seen: float = 0.0
    doubt: tuple[int, int] | None = None
    believed: bool = True
    place: Place | None = None
    known: Known | None = None
    told: set[str] = field(default_factory=set)
    pending_a_poll: int = PENDING_A_POLL

    def __str__(self) -> str:
        return str(self.watch)

    def look(
        self,
        now: float,
        observe: Observe = lambda _: None,
        *,
        details: Callable[[str], bool] = lambda _: False,
        full: bool = False,
        hint: bool = False,
    ) -> Wide[Look | Glance]:
        """
        Look once; at the deadline it is the last look, which the deadline no longer cuts short.

        What may be judged is a full look; as long as less shows that the wait goes on, it is a glance.

        :param now: Epoch seconds.
        :param observe: Is shown every sighting.
        :param details: Tells of which single messages more than the status is wanted in the end.
        :param full: Whether to look at everything in any case (default False).
        :param hint: Whether to leave a full look to somebody else, where a glance suffices to see that it is
            worth while (default False).
        :return: What was found, for :meth:`took`.
        :raises IntercomError: When something could not be read, for :meth:`stumbled`.
        """
        first, others = self.patience(now)
        not_yet = now < self.started + NOT_YET_FOR
        care = Care(first=first, others=others, not_yet=not_yet, observe=observe, details=details)
        full = full or self.is_due(now)
        if self.watch.ruleset_id is None:
            if self.known is None:
                self.known = Known.nothing(len(self.watch.whatsapp_message_ids))
            most = None if full else self.pending_a_poll
            return self.watch.ask(self.known, self.criteria, self.growth, now, care, most=most, hint=hint)
        return self._look_at_list(now, care, full=full, hint=hint)

    def _look_at_list(self, now: float, care: Care, *, full: bool, hint: bool) -> Wide[Look | Glance]:
        place = self.place
        if place is not None and not full and place.glances < GLANCES_IN_A_ROW:
            try:
                # Only a full look is shown, or a message would be shown twice.
                unseen = replace(care, observe=lambda _: None)
                glance = yield from self.watch.glance_at_list(place, self.criteria, self.growth, now, unseen)
            except IntercomError as error:
                if error.transient:
                    raise
                # The cursor is no good any more, perhaps; whatever else it is, the full look meets it as well.
                glance = None
            if glance is not None:
                if hint or not glance.may_be_settled:
                    return glance
                care = replace(care, first=care.others)
            else:
                self.place = None
        return (yield from self.watch.read_list(self.criteria, care))

    def took(self, found: Look | Glance, now: float) -> Verdict:
        """
        Take in a look.

        :param found: What was found.
        :param now: Epoch seconds when it was complete.
        :return: Whether to wait on, or why not; after a glance ``settled`` means that a full look is worth while.
        """
        self.failed_looks = 0
        for status in sorted(found.tally.unknown - self.told):
            log.warning("%s: status %r is unknown and counts as sent", self.watch, status)
        self.told |= found.tally.unknown
        if isinstance(found, Glance):
            self.growth = self.growth.after(found.total, now)
            if found.summary is not None:
                self.last, self.seen = found.summary, now
            settled = found.may_be_settled
        else:
            self.last, self.seen, self.place = found.summary, now, found.place
            doubt = found.doubt
            if doubt is None and found.summary.total < self.growth.total:
                doubt = (found.summary.total, self.growth.total)
            # What two looks in a row see alike is how it is; what one sees may be a list that moved while it was read.
            self.believed = doubt is None or doubt == self.doubt
            self.doubt = doubt
            self.growth = self.growth.after(found.summary.total, now)
            settled = self.believed and self.criteria.is_settled(found.summary, self.growth, now)
        if settled:
            return "settled"
        return "deadline" if self.is_due(now) else "wait"

    def progress(self, found: Look | Glance, now: float) -> str:
        """
        Say for the log how far it is.

        :param found: What was found last, after it was taken in.
        :param now: Epoch seconds.
        :return: One line, which names what it takes from an earlier look.
        """
        last = self.last or Summary()
        counts = self.criteria.progress(last)
        if isinstance(found, Glance) and found.summary is None:
            parts = [self._glanced(found), self._quiet(found.total, now)]
            parts.append(f"the last full look, {now - self.seen:.0f} s ago, saw {counts}")
        elif isinstance(found, Glance):
            parts = [counts, f"{found.unasked} of them not asked for this time" if found.unasked else ""]
        elif self.doubt is not None:
            told = f"{self.doubt[0]} of {self.doubt[1]} in the list, which may have changed while it was read"
            parts = [counts, told]
        else:
            parts = [counts, self._quiet(last.total, now)]
        return f"{self.watch}: {'; '.join(filter(None, parts))}"

    def shown(self, found: Look | Glance) -> dict[str, Any]:
        """
        Give the progress in numbers.

        :param found: What was found last, after it was taken in.
        :return: The counts, when they were seen (``as_of``, epoch seconds), and the page that is waited on.
        """
        page = found.page if isinstance(found, Glance) else None
        return asdict(self.last or Summary()) | {"as_of": self.seen, "waiting_on_page": page}

    def _glanced(self, glance: Glance) -> str:
        if glance.where or glance.may_be_settled:
            return glance.where or "all seems to be settled"
        return f"{glance.total} of {self.criteria.expected_count or glance.total} messages are there"

    def _quiet(self, total: int, now: float) -> str:
        if self.criteria.expected_count is not None or not self.criteria.settle_for or not total:
            return ""
        return f"no growth for {now - self.growth.since:.0f} of {self.criteria.settle_for:.9g} s"

    def state(self) -> dict[str, Any]:
        """
        Give what has to be remembered from one process to the next.

        :return: JSON, for :meth:`resume`.
        """
        return self.common_state() | {
            "growth": [self.growth.total, self.growth.since],
            "last": asdict(self.last) if self.last else None,
            "doubt": list(self.doubt) if self.doubt else None,
            "seen": self.seen,
            "of": self.watch.digest,
            "place": self.place.state() if self.place else None,
            "known": self.known.state() if self.known else None,
        }

    def resume(self, state: object) -> None:
        """
        Take up what another process knew of this wait.

        :param state: What :meth:`state` gave.
        :raises ValueError: When it is anything else, such as another version's.
        """
        try:
            if not isinstance(state, dict):
                raise TypeError("no object")  # noqa: TRY301 - whatever it is, it is not ours
            self.resume_common(state)
            total, since = state["growth"]
            last = state["last"]
            self.growth = Growth(int(total), float(since))
            doubt = state.get("doubt")
            self.doubt = (int(doubt[0]), int(doubt[1])) if doubt else None
            self.last = Summary(**{name: int(count) for name, count in last.items()}) if last else None
            self.seen = float(state.get("seen", self.started))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"the state of the wait is of another version ({error!r})") from None
        # Without these a look reads everything, which is never wrong.
        self.place = self.known = None
        if state.get("of") == self.watch.digest:
            with suppress(ValueError):
                self.place = Place.resume(state.get("place")) if self.last else None
            with suppress(ValueError):
                self.known = Known.resume(state.get("known"), len(self.watch.whatsapp_message_ids))
