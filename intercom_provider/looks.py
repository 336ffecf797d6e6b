"""What a wait looks at, and one look at all of it as a flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from intercom_provider.api import calls
from intercom_provider.api.errors import NotFoundError
from intercom_provider.delivery import Summary, Tally

if TYPE_CHECKING:
    from intercom_provider.api.flow import Flow, Patience


@dataclass(frozen=True, slots=True)
class Sighting:
    """A message as a look saw it."""

    whatsapp_message_id: str
    status: str
    conversation_id: str | None = None
    user_id: str | None = None
    reason: str | None = None
    template_name: str | None = None
    updated_at: int | None = None


Observe: TypeAlias = Callable[[Sighting], None]


@dataclass(frozen=True, slots=True)
class Look:
    """
    What one full look found.

    :param summary: The counts.
    :param tally: Where the counts come from.
    :param doubt: What the look saw and what Intercom announced, when these differ: the list may have changed
        while it was read. None when they agree.
    """

    summary: Summary
    tally: Tally
    doubt: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """
    What to look at: a ruleset or single WhatsApp messages.

    :param ruleset_id: The Outbound message's id; None for single messages.
    :param created_after: Epoch seconds from which on a ruleset's events count; None for all.
    :param whatsapp_message_ids: The single messages.
    :param refused: How many messages were refused when they were sent; they count as failed.
    :param untraceable: How many messages were sent, perhaps, without an id; they stay ``sent``.
    """

    ruleset_id: str | None = None
    created_after: float | None = None
    whatsapp_message_ids: tuple[str, ...] = ()
    refused: int = 0
    untraceable: int = 0

    def __str__(self) -> str:
        if self.ruleset_id is not None:
            return f"WhatsApp ruleset {self.ruleset_id}"
        number = len(self.whatsapp_message_ids) + self.refused + self.untraceable
        return f"{number} WhatsApp message{'' if number == 1 else 's'}"

    def look(self, *, first: Patience, others: Patience, not_yet: bool, observe: Observe) -> Flow[Look]:
        """
        Look at every message.

        :param first: The patience for the look's first request: a poll that fails waits for the next.
        :param others: The patience for the rest: what was read should not be read again.
        :param not_yet: Whether a WhatsApp id that Intercom does not know may still turn up.
        :param observe: Is shown every sighting.
        :return: What was found.
        :raises IntercomError: When something could not be read.
        """
        if self.ruleset_id is None:
            return self._look_at_messages(first, others, observe, not_yet=not_yet)
        return self._look_at_ruleset(self.ruleset_id, first, others, observe)

    def _look_at_ruleset(self, ruleset_id: str, first: Patience, others: Patience, observe: Observe) -> Flow[Look]:
        tally, pages = Tally(), calls.Pages(ruleset_id)
        listed, announced = 0, 0
        while not pages.done:
            page = yield from pages.read(others if pages.number else first)
            announced = max(announced, page.total_count or 0)
            listed += len(page.events)
            for event in page.events:
                if self.created_after and event.created_at is not None and event.created_at < self.created_after:
                    continue
                tally.add(event.whatsapp_message_id, event.status)
                observe(
                    Sighting(
                        event.whatsapp_message_id,
                        event.status,
                        event.conversation_id,
                        event.user_id,
                        None,
                        event.template_name,
                        event.updated_at,
                    )
                )
        summary = tally.fold()
        # Each message once, where all of them count.
        seen = listed if self.created_after else summary.total
        return Look(summary, tally, None if seen >= announced else (seen, announced))

    def _look_at_messages(self, first: Patience, others: Patience, observe: Observe, *, not_yet: bool) -> Flow[Look]:
        tally = Tally()
        for index, whatsapp_message_id in enumerate(self.whatsapp_message_ids):
            try:
                found = yield from calls.whatsapp_status(whatsapp_message_id, others if index else first)
            except NotFoundError:
                if not not_yet:
                    raise
                sighting = Sighting(whatsapp_message_id, "sent")
            else:
                sighting = Sighting(
                    whatsapp_message_id,
                    found.status,
                    found.conversation_id,
                    None,
                    str(found.error) if found.error else None,
                    found.template_name,
                    found.updated_at,
                )
            tally.add(whatsapp_message_id, sighting.status)
            observe(sighting)
        found_here = tally.fold()
        summary = Summary(
            total=found_here.total + self.refused + self.untraceable,
            sent=found_here.sent + self.untraceable,
            delivered=found_here.delivered,
            read=found_here.read,
            failed=found_here.failed + self.refused,
        )
        return Look(summary, tally)
