"""WhatsApp messages that an Outbound message ("ruleset") sent to many.

Nothing is stored for a recipient: an event is worked out from the seed and its place in the ruleset
whenever it is asked for, so 100,000 of them cost what one costs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.sandbox.delivery import SeededRandom, failure_of, fate_of, number_in, status_at, whatsapp_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from intercom_provider.sandbox.settings import Settings

# A recipient is hidden in a WhatsApp id as (slot + 1) * _PLACES + place.
_PLACES: Final = 1_000_000_000
_CONVERSATIONS: Final = 700_000_000_000


@dataclass(frozen=True, slots=True)
class _Wave:
    """Recipients who join together, evenly spread over `over` seconds from `start`."""

    first: int
    size: int
    start: float
    over: float

    def joins(self, place: int) -> float:
        return self.start + self.over * (place - self.first + 1) / self.size

    def joined(self, now: float) -> int:
        if now >= self.start + self.over:
            return self.size
        return max(0, int(self.size * (now - self.start) / self.over))


@dataclass(slots=True)
class Ruleset:
    """One Outbound message and all its recipients, in the order in which they join.

    :param id: the ruleset's id.
    :param slot: which of the sandbox's rulesets it is; hidden in its WhatsApp ids.
    :param settings: the sandbox's settings.
    """

    id: str
    slot: int
    settings: Settings
    size: int = 0
    template_name: str = "sandbox_template"
    _waves: list[_Wave] = field(default_factory=list)
    _fixed: dict[int, dict[str, Any]] = field(default_factory=dict)
    _places: dict[str, int] = field(default_factory=dict)
    _draws: SeededRandom = field(init=False)

    def __post_init__(self) -> None:
        self._draws = SeededRandom(self.settings.seed, "ruleset", self.id)

    def add(self, size: int, over: float, events: Sequence[dict[str, Any]], now: float) -> None:
        """Let recipients join, after those who are still about to.

        Places must be in order of arrival: a cursor means "whoever comes after this place".

        :param size: how many.
        :param over: sandbox seconds over which they join.
        :param events: fields that override those of the first recipients' events.
        :param now: unix time.
        """
        last = self._waves[-1] if self._waves else None
        start = max(now, last.start + last.over) if last else now
        for place, event in enumerate(events, self.size):
            self.fix(place, event)
        if size:
            self._waves.append(_Wave(self.size, size, start, over / self.settings.speed))
            self.size += size

    def fix(self, place: int, fields: dict[str, Any]) -> None:
        """Override fields of one event.

        :param place: whose.
        :param fields: what it holds from now on; `error` shows in the message's own status only.
        """
        fixed = self._fixed.setdefault(place, {})
        fixed.update(fields)
        if "whatsapp_message_id" in fields:
            self._places[fields["whatsapp_message_id"]] = place

    def arrived(self, now: float) -> int:
        """Count the recipients who have joined so far.

        :param now: unix time.
        """
        return sum(wave.joined(now) for wave in self._waves)

    def events(self, first: int, last: int, now: float) -> list[dict[str, Any]]:
        """List the events of consecutive places, in Intercom's words.

        :param first: the first place, from 0.
        :param last: the place after the last one; all must have joined.
        :param now: unix time.
        """
        found = []
        for wave in self._waves:
            places = range(max(first, wave.first), min(last, wave.first + wave.size))
            found += [self._event(place, wave.joins(place), now) for place in places]
        return found

    def place_of(self, whatsapp_message_id: str, now: float) -> int | None:
        """Find a recipient by the WhatsApp id of the message sent to them.

        :param whatsapp_message_id: any text.
        :param now: unix time.
        :return: None when no recipient who has joined got that message.
        """
        place = self._places.get(whatsapp_message_id)
        if place is None:
            number = number_in(whatsapp_message_id)
            if number is None or number // _PLACES != self.slot + 1:
                return None
            place = number % _PLACES
        if place >= self.arrived(now):
            return None
        event = self.events(place, place + 1, now)[0]
        return place if event["whatsapp_message_id"] == whatsapp_message_id else None

    def error_of(self, place: int) -> dict[str, str]:
        """Tell why the message to a recipient failed.

        :param place: whose.
        """
        error: dict[str, str] | None = self._fixed.get(place, {}).get("error")
        return error or failure_of(self._draws.of(place))

    def _event(self, place: int, joined: float, now: float) -> dict[str, Any]:
        settings = self.settings
        draw = self._draws.of(place)
        fate = fate_of(draw, settings.failures, settings.read_share)
        status, since = status_at(fate, draw, (now - joined) * settings.speed)
        number = (self.slot + 1) * _PLACES + place
        event = {
            "id": str(number),
            "conversation_id": str(number + _CONVERSATIONS),
            "user_id": draw[8:20].hex(),
            "status": status,
            "type": "broadcast_outbound",
            "created_at": int(joined),
            "updated_at": int(joined + since / settings.speed),
            "whatsapp_message_id": whatsapp_id(draw, number),
            "template_name": self.template_name,
        }
        if place in self._fixed:
            event |= {name: value for name, value in self._fixed[place].items() if name != "error"}
        return event
