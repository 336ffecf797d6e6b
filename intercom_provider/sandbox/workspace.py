"""A workspace without HTTP: its messages, their statuses, rulesets and conversations."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.sandbox.contacts import Contacts, address_of
from intercom_provider.sandbox.delivery import (
    SeededRandom,
    choose_error,
    choose_plan,
    magic_plan,
    make_whatsapp_id,
    status_at,
)
from intercom_provider.sandbox.message_rules import recipients_of
from intercom_provider.sandbox.rulesets import Ruleset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from intercom_provider.sandbox.delivery import DeliveryPlan
    from intercom_provider.sandbox.settings import SandboxSettings

ADMINS: Final = {"814860": "Ada Sandbox", "814861": "Ben Sandbox"}

# Sandbox seconds until the status of a new message can be read, and until searches find a conversation.
STATUS_LAG_SECONDS: Final = 1.0
MIN_INDEX_LAG_SECONDS: Final = 5.0
MAX_INDEX_LAG_SECONDS: Final = 10.0


class NotThereError(LookupError):
    """A contact, message or job does not exist, or not yet."""


@dataclass(slots=True, kw_only=True)
class Message:
    """A message that was created.

    :param id: Intercom's id of it, all digits.
    :param message_type: `inapp`, `email`, `whatsapp` or `sms`.
    :param recipient: the first recipient: an id, user_id, email or phone.
    :param wire: the body of the request that created it.
    :param time: unix time at which it was created.
    :param created_at: unix seconds as in the reply, backdated if the request asked for it.
    :param whatsapp_message_id: None when WhatsApp did not accept it, and for other types of message.
    :param plan: the plan of its delivery; None for other types than WhatsApp.
    :param random_bytes: its own random bytes.
    :param conversation_id: None until the contact replies.
    :param conversation_at: unix time at which the conversation was opened.
    :param replied_at: unix time of the contact's first reply.
    :param forced: (status, unix time, error) that `set_status` forced.
    """

    id: str
    message_type: str
    recipient: str
    wire: dict[str, Any]
    time: float
    created_at: int
    whatsapp_message_id: str | None
    plan: DeliveryPlan | None
    random_bytes: bytes
    conversation_id: str | None = None
    conversation_at: float = 0.0
    replied_at: float | None = None
    forced: tuple[str, float, dict[str, str] | None] | None = None


class Workspace:
    """The messages, rulesets and contacts of one sandbox.

    :param settings: the sandbox's settings.
    """

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        self.contacts = Contacts(settings)
        self.messages: list[Message] = []
        self.rulesets: dict[str, Ruleset] = {}
        self._random = SeededRandom(settings.seed, "message")
        self._sent_to: Counter[tuple[str, str]] = Counter()
        self._by_id: dict[str, Message] = {}
        self._by_whatsapp_id: dict[str, Message] = {}

    def send(self, wire: dict[str, Any], now: float) -> Message:
        """Create a message.

        :param wire: the body of the request, after `check_message`.
        :param now: unix time.
        :raises NotThereError: when the sender or a recipient does not exist.
        """
        sender = wire["from"]
        recipients = [each for field in ("to", "cc", "bcc") for each in recipients_of(wire, field)]
        if sender.get("type") != "admin" or str(sender["id"]) not in ADMINS:
            raise NotThereError(sender)
        # All of them are requested, because the time of a `soon-` name counts from its first request.
        unknown = [each for each in recipients if not self.contacts.request_recipient(each, now)]
        if unknown:
            raise NotThereError(unknown)
        message = self._create(wire, now)
        self.messages.append(message)
        self._by_id[message.id] = message
        if message.whatsapp_message_id:
            self._by_whatsapp_id[message.whatsapp_message_id] = message
        if wire.get("create_conversation_without_contact_reply"):
            self._open_conversation(message, now)
        return message

    def _create(self, wire: dict[str, Any], now: float) -> Message:
        first = recipients_of(wire)[0]
        # Keyed by recipient and the number of the message to them, so that every run delivers it alike, in whatever
        # order senders run.
        address = address_of(first)
        self._sent_to[address] += 1
        random_bytes = self._random.of(f"{address}#{self._sent_to[address]}")
        is_whatsapp = wire["message_type"] == "whatsapp"
        plan = None
        if is_whatsapp:
            settings = self.settings
            plan = magic_plan(first["phone"]) or choose_plan(random_bytes, settings.failures, settings.read_share)
        number = len(self.messages) + 1
        return Message(
            id=str(403_900_000 + number),
            message_type="inapp" if wire["message_type"] == "in_app" else wire["message_type"],
            recipient=address[1],
            wire=wire,
            time=now,
            created_at=wire.get("created_at") or int(now),
            whatsapp_message_id=make_whatsapp_id(random_bytes, 0) if is_whatsapp and plan != "refused" else None,
            plan=plan,
            random_bytes=random_bytes,
        )

    def message(self, message_id: str) -> Message:
        """Find a message.

        :param message_id: Intercom's id of it.
        :raises NotThereError: when there is no such message.
        """
        if message_id not in self._by_id:
            raise NotThereError(message_id)
        return self._by_id[message_id]

    def status(self, whatsapp_message_id: str, now: float) -> dict[str, Any]:
        """Return the status of a WhatsApp message, in Intercom's format.

        :param whatsapp_message_id: the id of a message sent over the API or by a ruleset.
        :param now: unix time.
        :raises NotThereError: when there is no such message, or it was sent less than a sandbox second ago.
        """
        if message := self._by_whatsapp_id.get(whatsapp_message_id):
            return self._message_status(message, now)
        ruleset, index = self._find_recipient(whatsapp_message_id, now)
        event = ruleset.events(index, index + 1, now)[0]
        del event["id"], event["user_id"]
        event["message_id"] = event.pop("whatsapp_message_id")
        if event["status"] == "failed":
            event["error"] = ruleset.error_of(index)
        return event

    def _message_status(self, message: Message, now: float) -> dict[str, Any]:
        speed = self.settings.speed
        age = (now - message.time) * speed
        error = choose_error(message.random_bytes)
        if message.forced:
            status, changed, forced_error = message.forced
            error = forced_error or error
        elif age < STATUS_LAG_SECONDS or message.plan is None:
            raise NotThereError(message.id)
        else:
            status, since = status_at(message.plan, message.random_bytes, age)
            changed = message.time + since / speed
        reply = {
            "status": status,
            "type": "broadcast_outbound",
            "created_at": int(message.time),
            "updated_at": int(changed),
            "template_name": message.wire["template"],
            "message_id": message.whatsapp_message_id,
        }
        if message.conversation_id:
            reply["conversation_id"] = message.conversation_id
        if status == "failed":
            reply["error"] = error
        return reply

    def set_status(self, whatsapp_message_id: str, status: str, error: dict[str, str] | None, now: float) -> None:
        """Force the status of a WhatsApp message from now on.

        :param whatsapp_message_id: the id of a message sent over the API or by a ruleset.
        :param status: any text; Intercom knows `sent`, `delivered`, `read`, `failed`.
        :param error: {message, details} of a failed message; None for a random error.
        :param now: unix time.
        :raises NotThereError: when there is no such message.
        """
        if message := self._by_whatsapp_id.get(whatsapp_message_id):
            message.forced = (status, now, error)
            return
        ruleset, index = self._find_recipient(whatsapp_message_id, now)
        ruleset.override(index, {"status": status, "updated_at": int(now), "error": error})

    def add_ruleset(
        self, ruleset_id: str, size: int, over: float, events: Sequence[dict[str, Any]], now: float
    ) -> Ruleset:
        """Send an Outbound message, or send an existing one to more recipients.

        :param ruleset_id: its id.
        :param size: how many recipients join; at least as many as `events`.
        :param over: sandbox seconds over which they join.
        :param events: one dict for each of the first recipients, with fields that override those of their events.
        :param now: unix time.
        :raises ValueError: when there would be too many recipients.
        """
        ruleset = self.rulesets.get(ruleset_id) or Ruleset(ruleset_id, len(self.rulesets), self.settings)
        ruleset.add(max(size, len(events)), over, events, now)
        self.rulesets[ruleset_id] = ruleset
        return ruleset

    def reply(self, message_id: str, now: float) -> str:
        """Reply to a message as the contact.

        :param message_id: Intercom's id of the message.
        :param now: unix time.
        :return: the id of the conversation.
        :raises NotThereError: when there is no such message.
        """
        message = self.message(message_id)
        if message.replied_at is None:
            message.replied_at = now
        return message.conversation_id or self._open_conversation(message, now)

    def conversations(
        self, now: float, *, message_id: str | None = None, contact_id: str | None = None, after: float = 0.0
    ) -> list[dict[str, Any]]:
        """Return the conversations that a search finds.

        :param now: unix time.
        :param message_id: Intercom's id of the message that started them; None for any.
        :param contact_id: the Intercom id of a contact who takes part; None for any.
        :param after: unix time; only conversations created later are returned.
        """
        messages = self.messages
        if message_id is not None:
            messages = [self._by_id[message_id]] if message_id in self._by_id else []
        indexed = (self._indexed(message, now) for message in messages if message.conversation_id)
        return [
            each
            for each in indexed
            if each is not None
            and each["created_at"] > after
            and (contact_id is None or contact_id in [contact["id"] for contact in each["contacts"]["contacts"]])
        ]

    def _indexed(self, message: Message, now: float) -> dict[str, Any] | None:
        variation = (MAX_INDEX_LAG_SECONDS - MIN_INDEX_LAG_SECONDS) * message.random_bytes[7] / 255
        lag = (MIN_INDEX_LAG_SECONDS + variation) / self.settings.speed
        if now < message.conversation_at + lag:
            return None
        replied = message.replied_at is not None and now >= message.replied_at + lag
        return self._conversation(message, replied=replied)

    def _find_recipient(self, whatsapp_message_id: str, now: float) -> tuple[Ruleset, int]:
        for ruleset in self.rulesets.values():
            index = ruleset.find_recipient(whatsapp_message_id, now)
            if index is not None:
                return ruleset, index
        raise NotThereError(whatsapp_message_id)

    def _open_conversation(self, message: Message, now: float) -> str:
        message.conversation_id = str(int(message.id) - 188_000_000)
        message.conversation_at = now
        return message.conversation_id

    def _conversation(self, message: Message, *, replied: bool) -> dict[str, Any]:
        opened = int(message.conversation_at)
        answered = int(message.replied_at) if replied and message.replied_at else None
        statistics: dict[str, Any] = {"type": "conversation_statistics", "count_conversation_parts": 1}
        conversation: dict[str, Any] = {
            "type": "conversation",
            "id": message.conversation_id,
            "created_at": opened,
            "updated_at": answered or opened,
            "open": True,
            "state": "open",
            "read": False,
            "source": {
                "type": "conversation" if message.message_type == "inapp" else message.message_type,
                "id": message.id,
                "delivered_as": "admin_initiated",
                "subject": message.wire.get("subject") or "",
                "body": message.wire.get("body") or "",
                "author": {
                    "type": "admin",
                    "id": str(message.wire["from"]["id"]),
                    "name": ADMINS[str(message.wire["from"]["id"])],
                    "email": "",
                },
                "attachments": [],
                "url": None,
                "redacted": False,
            },
            "contacts": {"type": "contact.list", "contacts": self._contacts_of(message)},
            "statistics": statistics,
        }
        if answered:
            conversation["first_contact_reply"] = {
                "created_at": answered,
                "type": "conversation",
                "url": None,
            }
            statistics |= {"first_contact_reply_at": answered, "last_contact_reply_at": answered}
            statistics["count_conversation_parts"] = 2
        return conversation

    def _contacts_of(self, message: Message) -> list[dict[str, Any]]:
        found = []
        for recipient in recipients_of(message.wire):
            address, name = address_of(recipient)
            field = "external_id" if address == "user_id" else address
            external_id = name if address == "user_id" else None
            contact_id = self.contacts.id_of(field, name)
            found.append({"type": "contact", "id": contact_id, "external_id": external_id})
        return found
