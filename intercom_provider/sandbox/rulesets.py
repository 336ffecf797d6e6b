"""Rulesets: Outbound messages that send a WhatsApp message to many recipients.

Nothing is stored per recipient. An event is computed from the seed and the recipient's index in the ruleset whenever a
request needs it, so that a ruleset of 100,000 takes no more memory than a ruleset of one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.sandbox.delivery import (
    SeededRandom,
    choose_error,
    choose_plan,
    make_whatsapp_id,
    number_in_whatsapp_id,
    status_at,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from intercom_provider.sandbox.settings import SandboxSettings

# A WhatsApp id encodes its recipient as (slot + 1) * MAX_RECIPIENTS + index.
MAX_RECIPIENTS: Final = 1_000_000_000
_FIRST_CONVERSATION_ID: Final = 700_000_000_000


@dataclass(frozen=True, slots=True)
class _Wave:
    """Recipients who were added together and join evenly over `over` seconds from `start`."""

    first: int
    size: int
    start: float
    over: float

    def joined_at(self, index: int) -> float:
        return self.start + self.over * (index - self.first + 1) / self.size

    def count_joined(self, now: float) -> int:
        # The start is ahead while an earlier wave is still joining.
        if now < self.start:
            return 0
        if now >= self.start + self.over:
            return self.size
        return int(self.size * (now - self.start) / self.over)


@dataclass(slots=True)
class Ruleset:
    """One Outbound message and all its recipients, in the order in which they join.

    :param id: the ruleset's id.
    :param slot: its index among the sandbox's rulesets, which its WhatsApp ids encode.
    :param settings: the sandbox's settings.
    """

    id: str
    slot: int
    settings: SandboxSettings
    size: int = 0
    template_name: str = "sandbox_template"
    _waves: list[_Wave] = field(default_factory=list)
    _overrides: dict[int, dict[str, Any]] = field(default_factory=dict)
    _indexes: dict[str, int] = field(default_factory=dict)
    _random: SeededRandom = field(init=False)

    def __post_init__(self) -> None:
        self._random = SeededRandom(self.settings.seed, "ruleset", self.id)

    def add(self, size: int, over: float, events: Sequence[dict[str, Any]], now: float) -> None:
        """Add recipients, who join after all earlier ones have joined.

        The indexes must be in the order of joining, because a cursor means "all recipients after this index".

        :param size: how many join.
        :param over: sandbox seconds over which they join.
        :param events: fields that override those of the first recipients' events.
        :param now: unix time.
        :raises ValueError: when the ruleset would have more than `MAX_RECIPIENTS`.
        """
        if self.size + size > MAX_RECIPIENTS:
            raise ValueError(f"a ruleset has at most {MAX_RECIPIENTS:,} recipients")
        last = self._waves[-1] if self._waves else None
        start = max(now, last.start + last.over) if last else now
        for index, event in enumerate(events, self.size):
            self.override(index, event)
        if size:
            self._waves.append(_Wave(self.size, size, start, over / self.settings.speed))
            self.size += size

    def override(self, index: int, fields: dict[str, Any]) -> None:
        """Override fields of one event from now on.

        :param index: the recipient's index.
        :param fields: the new values; `error` is returned with the message's own status only.
        """
        self._overrides.setdefault(index, {}).update(fields)
        if isinstance(whatsapp_message_id := fields.get("whatsapp_message_id"), str):
            self._indexes[whatsapp_message_id] = index

    def count_joined(self, now: float) -> int:
        """Count the recipients who have joined so far.

        :param now: unix time.
        """
        return sum(wave.count_joined(now) for wave in self._waves)

    def events(self, first: int, last: int, now: float) -> list[dict[str, Any]]:
        """Return the events of consecutive recipients, in Intercom's format.

        :param first: the index of the first recipient, from 0.
        :param last: the index after the last recipient; all must have joined.
        :param now: unix time.
        """
        found = []
        for wave in self._waves:
            indexes = range(max(first, wave.first), min(last, wave.first + wave.size))
            found += [self._event(index, wave.joined_at(index), now) for index in indexes]
        return found

    def find_recipient(self, whatsapp_message_id: str, now: float) -> int | None:
        """Find a recipient by the WhatsApp id of their message.

        :param whatsapp_message_id: any text.
        :param now: unix time.
        :return: the recipient's index; None when no recipient who has joined got that message.
        """
        index = self._indexes.get(whatsapp_message_id)
        if index is None:
            number = number_in_whatsapp_id(whatsapp_message_id)
            if number is None or number // MAX_RECIPIENTS != self.slot + 1:
                return None
            index = number % MAX_RECIPIENTS
        if index >= self.count_joined(now):
            return None
        event = self.events(index, index + 1, now)[0]
        return index if event["whatsapp_message_id"] == whatsapp_message_id else None

    def error_of(self, index: int) -> dict[str, str]:
        """Return the error of a recipient's failed message.

        :param index: the recipient's index.
        """
        error: dict[str, str] | None = self._overrides.get(index, {}).get("error")
        return error or choose_error(self._random.of(index))

    def _event(self, index: int, joined: float, now: float) -> dict[str, Any]:
        settings = self.settings
        random_bytes = self._random.of(index)
        plan = choose_plan(random_bytes, settings.failures, settings.read_share)
        status, since = status_at(plan, random_bytes, (now - joined) * settings.speed)
        number = (self.slot + 1) * MAX_RECIPIENTS + index
        event = {
            "id": str(number),
            "conversation_id": str(number + _FIRST_CONVERSATION_ID),
            "user_id": random_bytes[8:20].hex(),
            "status": status,
            "type": "broadcast_outbound",
            "created_at": int(joined),
            "updated_at": int(joined + since / settings.speed),
            "whatsapp_message_id": make_whatsapp_id(random_bytes, number),
            "template_name": self.template_name,
        }
        if index in self._overrides:
            event |= {name: value for name, value in self._overrides[index].items() if name != "error"}
        return event
