"""A workspace without HTTP: its messages, their statuses, rulesets and conversations."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.sandbox.admins import ADMINS, WITHOUT_SEAT, admin_wire
from intercom_provider.sandbox.contacts import Contacts, address_of
from intercom_provider.sandbox.conversations import Conversation, Reply
from intercom_provider.sandbox.delivery import (
    SeededRandom,
    choose_error,
    choose_plan,
    magic_plan,
    make_whatsapp_id,
    status_at,
)
from intercom_provider.sandbox.error_reply import ErrorReply
from intercom_provider.sandbox.faults import fault_of
from intercom_provider.sandbox.message_rules import recipients_of
from intercom_provider.sandbox.rulesets import Ruleset

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from intercom_provider.sandbox.contacts import Contact
    from intercom_provider.sandbox.delivery import DeliveryPlan
    from intercom_provider.sandbox.settings import SandboxSettings

# Sandbox seconds until the status of a new message can be read, and until searches find a conversation or a reply.
STATUS_LAG_SECONDS: Final = 1.0
MIN_INDEX_LAG_SECONDS: Final = 5.0
MAX_INDEX_LAG_SECONDS: Final = 10.0

DEFAULT_REPLY: Final = "Thank you"


class NotThereError(LookupError):
    """A contact, message or job does not exist, or not yet."""


@dataclass(slots=True, kw_only=True)
class Message:
    """A message that was created.

    :param id: Intercom's id of it, all digits.
    :param message_type: `inapp`, `email`, `whatsapp` or `sms`.
    :param recipient: the first recipient: an id, user_id, email or phone.
    :param contacts: all whom it is to, which a message to a phone makes known, too.
    :param wire: the body of the request that created it.
    :param time: unix time at which it was created.
    :param created_at: unix seconds as in the reply, backdated if the request asked for it.
    :param whatsapp_message_id: None when WhatsApp did not accept it, and for other types of message.
    :param plan: the plan of its delivery; None for other types than WhatsApp.
    :param refusal: why WhatsApp did not accept its template; None where it did.
    :param random_bytes: its own random bytes.
    :param conversation: None until the contact replies.
    :param forced: (status, unix time, error) that `set_status` forced.
    """

    id: str
    message_type: str
    recipient: str
    contacts: list[Contact]
    wire: dict[str, Any]
    time: float
    created_at: int
    whatsapp_message_id: str | None
    plan: DeliveryPlan | None
    refusal: str | None
    random_bytes: bytes
    conversation: Conversation | None = None
    forced: tuple[str, float, dict[str, str] | None] | None = None

    @property
    def conversation_id(self) -> str | None:
        """The id of its conversation; None until the contact replies."""
        return self.conversation.id if self.conversation else None

    @property
    def replied_at(self) -> float | None:
        """Unix time of the contact's first reply."""
        return self.conversation.replies[0].time if self.conversation and self.conversation.replies else None


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
        self._sent_to: Counter[str] = Counter()
        self._conversations: dict[str, Conversation] = {}
        self._by_id: dict[str, Message] = {}
        self._by_whatsapp_id: dict[str, Message] = {}

    def send(self, wire: dict[str, Any], now: float) -> Message:
        """Create a message.

        :param wire: the body of the request, after `check_message`.
        :param now: unix time.
        :raises NotThereError: when the sender or a recipient does not exist.
        :raises ErrorReply: when the sender or a recipient is one whose messages are refused.
        :raises CutConnection: when the message was created for a recipient whose sender gets no reply.
        """
        sender = wire["from"]
        if sender.get("type") != "admin" or str(sender["id"]) not in ADMINS:
            raise NotThereError(sender)
        if str(sender["id"]) == WITHOUT_SEAT:
            raise ErrorReply(405, "action_forbidden", "Not allowed for this type of admin")
        # All of them are requested, because the time of a `soon-` name counts from its first request.
        found = {
            field: [self.contacts.request_recipient(each, now) for each in recipients_of(wire, field)]
            for field in ("to", "cc", "bcc")
        }
        if None in itertools.chain(*found.values()):
            raise NotThereError(found)
        contacts = [each for each in itertools.chain(*found.values()) if each]
        unsubscribed = wire["message_type"] == "email" and any(each.has_unsubscribed for each in contacts)
        fault = fault_of(itertools.chain(*(each.names for each in contacts)), unsubscribed=unsubscribed)
        if fault and fault.status:
            raise fault.error()
        message = self._create(wire, [each for each in found["to"] if each], now)
        for contact in message.contacts:
            contact.last_contacted_at = int(now)
        self.messages.append(message)
        self._by_id[message.id] = message
        if message.whatsapp_message_id:
            self._by_whatsapp_id[message.whatsapp_message_id] = message
        if wire.get("create_conversation_without_contact_reply"):
            self._open_conversation(message, now)
        if fault:
            raise fault.error()
        return message

    def _create(self, wire: dict[str, Any], contacts: list[Contact], now: float) -> Message:
        first = recipients_of(wire)[0]
        # Keyed by contact and the number of the message to them, so that every run delivers it alike, in whatever order
        # senders run.
        contact_id = contacts[0].id
        self._sent_to[contact_id] += 1
        random_bytes = self._random.of(f"{contact_id}#{self._sent_to[contact_id]}")
        is_whatsapp = wire["message_type"] == "whatsapp"
        plan = refusal = None
        settings = self.settings
        if is_whatsapp and settings.templates:
            refusal = settings.templates.find_refusal(wire)
        if is_whatsapp:
            plan = (
                "refused"
                if refusal
                else magic_plan(first["phone"]) or choose_plan(random_bytes, settings.failures, settings.read_share)
            )
        number = len(self.messages) + 1
        return Message(
            id=str(403_900_000 + number),
            message_type="inapp" if wire["message_type"] == "in_app" else wire["message_type"],
            recipient=address_of(first)[1],
            contacts=contacts,
            wire=wire,
            time=now,
            created_at=wire.get("created_at") or int(now),
            whatsapp_message_id=make_whatsapp_id(random_bytes, 0) if is_whatsapp and plan != "refused" else None,
            plan=plan,
            refusal=refusal,
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

    def reply(self, message_id: str, body: str, now: float) -> str:
        """Reply to a message as the contact.

        :param message_id: Intercom's id of the message.
        :param body: the text of the reply.
        :param now: unix time.
        :return: the id of the conversation.
        :raises NotThereError: when there is no such message.
        """
        message = self.message(message_id)
        conversation = message.conversation or self._open_conversation(message, now)
        conversation.replies.append(Reply(now, body))
        message.contacts[0].last_replied_at = int(now)
        return conversation.id

    def conversation(self, conversation_id: str) -> Conversation:
        """Find a conversation.

        :param conversation_id: Intercom's id of it.
        :raises NotThereError: when there is no such conversation.
        """
        if conversation_id not in self._conversations:
            raise NotThereError(conversation_id)
        return self._conversations[conversation_id]

    def indexed_conversations(self, message_ids: Sequence[str] | None, now: float) -> list[dict[str, Any]]:
        """Return the conversations that searches know, in Intercom's format.

        :param message_ids: Intercom's ids of the messages that began them; None for all.
        :param now: unix time.
        """
        candidates: Iterable[Conversation | None] = self._conversations.values()
        if message_ids is not None:
            candidates = [self._by_id[each].conversation for each in dict.fromkeys(message_ids) if each in self._by_id]
        indexed = (each.indexed(now, self.settings.speed) for each in candidates if each)
        return [each for each in indexed if each]

    def _find_recipient(self, whatsapp_message_id: str, now: float) -> tuple[Ruleset, int]:
        for ruleset in self.rulesets.values():
            index = ruleset.find_recipient(whatsapp_message_id, now)
            if index is not None:
                return ruleset, index
        raise NotThereError(whatsapp_message_id)

    def _open_conversation(self, message: Message, now: float) -> Conversation:
        author = admin_wire(str(message.wire["from"]["id"]))
        source: dict[str, Any] = {
            "type": "conversation" if message.message_type == "inapp" else message.message_type,
            "id": message.id,
            "delivered_as": "admin_initiated",
            "subject": message.wire.get("subject") or "",
            "body": message.wire.get("body") or "",
            "author": {name: author[name] for name in ("type", "id", "name", "email")},
            "attachments": [],
            "url": None,
            "redacted": False,
        }
        variation = (MAX_INDEX_LAG_SECONDS - MIN_INDEX_LAG_SECONDS) * message.random_bytes[7] / 255
        conversation = Conversation(
            id=str(int(message.id) - 188_000_000),
            source=source,
            contacts=message.contacts,
            opened=now,
            lag=MIN_INDEX_LAG_SECONDS + variation,
        )
        message.conversation = self._conversations[conversation.id] = conversation
        return conversation
