"""The contacts of the workspace: one for each person, however they are addressed.

Every name is somebody's, except the magic names. A contact that is not known yet is made up at the first request for it
and kept from then on, so that the id, the email and the phone in a reply lead to the same person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from intercom_provider.sandbox.delivery import SeededRandom
from intercom_provider.sandbox.error_reply import ErrorReply

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from intercom_provider.sandbox.settings import SandboxSettings

WORKSPACE: Final = "sandbox1"
ROLES: Final = ("user", "lead")

# The effect of each magic name, in the order and words of the documentation.
MAGIC_NAMES: Final = {
    "unknown...": "does not exist unless it is created: 404",
    "soon-SECONDS-...": "exists from that many sandbox seconds after its first request; 404 until then",
    "lead...": "is a lead: 404 when addressed as a user, as users are when addressed as a lead",
    "merged-NAME": "was merged into the contact NAME: 410, with a Link to that one",
    "unsubscribed-...": "has unsubscribed from emails: 403 to an email",
    "plan-...": "403 to a message: the plan does not include it",
    "permission-...": "401 to a message: the token lacks the permission",
    "error-...": "500 to a message, which is not sent",
    "unavailable-...": "503 to a message, which is not sent",
    "cut-...": "a message is sent, and the connection cut without a reply",
}

# The fields by which a contact is found. No two contacts have the same value in one of them.
IDENTIFIERS: Final = ("id", "external_id", "email", "phone")

# Sandbox seconds until searches find a contact that was created.
INDEX_LAG_SECONDS: Final = 60.0

_SOON: Final = re.compile(r"soon-(\d+(?:\.\d+)?)-")
_MERGED: Final = "merged-"
_DAY_SECONDS: Final = 86_400


@dataclass(slots=True, kw_only=True)
class Contact:
    """One person.

    :param id: Intercom's id.
    :param number: its place among the contacts, in the order in which they became known.
    :param role: `user` or `lead`.
    :param known_from: unix time of the first request for it.
    :param external_id: the customer's own id; None when it has none.
    :param email: None when it has none.
    :param phone: None when it has none.
    :param exists_after: sandbox seconds from the first request until it can be read and messaged.
    :param found_after: sandbox seconds from the first request until searches find it.
    :param given: other fields in Intercom's format, as they were given when it was created.
    :param last_contacted_at: unix seconds of the last message to it.
    :param last_replied_at: unix seconds of its last reply.
    """

    id: str
    number: int
    role: str
    known_from: float
    external_id: str | None = None
    email: str | None = None
    phone: str | None = None
    exists_after: float = 0.0
    found_after: float = 0.0
    given: Mapping[str, Any] = field(default_factory=dict)
    last_contacted_at: int | None = None
    last_replied_at: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The values of its identifiers."""
        return tuple(each for each in (self.id, self.external_id, self.email, self.phone) if each is not None)

    @property
    def has_unsubscribed(self) -> bool:
        """Whether it has unsubscribed from emails."""
        is_magic = any(each.startswith("unsubscribed-") for each in self.names)
        return bool(self.given.get("unsubscribed_from_emails", is_magic))

    def wire(self) -> dict[str, Any]:
        """Build the contact in Intercom's format."""
        since = int(self.known_from) - (0 if self.given else _DAY_SECONDS)
        return {
            "type": "contact",
            "id": self.id,
            "workspace_id": WORKSPACE,
            "external_id": self.external_id,
            "role": self.role,
            "email": self.email or "",
            "phone": self.phone,
            "name": None,
            "owner_id": None,
            "has_hard_bounced": False,
            "marked_email_as_spam": False,
            "unsubscribed_from_emails": self.has_unsubscribed,
            "created_at": since,
            "updated_at": since,
            "signed_up_at": since,
            "last_seen_at": None,
            "last_replied_at": self.last_replied_at,
            "last_contacted_at": self.last_contacted_at,
            "custom_attributes": {},
            **self.given,
        }

    def reference(self) -> dict[str, Any]:
        """Build the reference to the contact that a conversation holds."""
        return {"type": "contact", "id": self.id, "external_id": self.external_id}


class Contacts:
    """The contacts of one sandbox.

    :param settings: the sandbox's settings.
    """

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._random = SeededRandom(settings.seed, "contact")
        self._contacts: list[Contact] = []
        self._by_identifier: dict[tuple[str, str], Contact] = {}

    def request(self, identifier: str, value: str, now: float) -> Contact | None:
        """Return a contact, made up if it is not known yet. The time of a `soon-` name counts from its first request.

        :param identifier: one of `IDENTIFIERS`.
        :param value: its value.
        :param now: unix time.
        :return: None when there is no such contact, or not yet.
        :raises ErrorReply: 410 when it was merged into another one.
        """
        if value.startswith(_MERGED):
            raise self._merged(identifier, value, now)
        contact = self._by_identifier.get(_key(identifier, value))
        if contact is None:
            if value.startswith("unknown"):
                return None
            contact = self._make_up(identifier, value, now)
        return contact if self._has_reached(contact, contact.exists_after, now) else None

    def request_recipient(self, recipient: dict[str, Any], now: float) -> Contact | None:
        """Return the recipient of a message.

        :param recipient: as in a message's `to`: `type` with one of `id`, `user_id`, `email`; or `phone`.
        :param now: unix time.
        :return: None when there is no such contact with this role, or not yet.
        :raises ErrorReply: 410 when it was merged into another one.
        """
        address, name = address_of(recipient)
        contact = self.request("external_id" if address == "user_id" else address, name, now)
        is_meant = contact is not None and (address == "phone" or recipient["type"] == contact.role)
        return contact if is_meant else None

    def create(self, given: dict[str, Any], now: float) -> Contact:
        """Create a contact.

        :param given: its fields, after `check_contact`.
        :param now: unix time.
        :raises ErrorReply: 409 when somebody has its external_id, email or phone already.
        """
        identifiers = {name: str(given[name]) for name in IDENTIFIERS[1:] if given.get(name) is not None}
        for name, value in identifiers.items():
            if known := self._by_identifier.get(_key(name, value)):
                words = f"A contact matching those details already exists with id={known.id}"
                raise ErrorReply(409, "conflict", words)
        name, value = next(iter(identifiers.items()), ("number", str(len(self._contacts))))
        contact = Contact(
            id=self._id_for(name, value),
            number=len(self._contacts),
            role=given.get("role") or _role_of(value),
            known_from=now,
            exists_after=max(map(_seconds_until, identifiers.values()), default=0.0),
            found_after=INDEX_LAG_SECONDS,
            given={name: given[name] for name in given if name not in (*IDENTIFIERS, "role")}
            | {"created_at": int(now)},
            external_id=identifiers.get("external_id"),
            email=identifiers.get("email"),
            phone=identifiers.get("phone"),
        )
        self._add(contact)
        return contact

    def found(self, identifiers: list[tuple[str, str]] | None, now: float) -> Iterator[Contact]:
        """Return the contacts that a search may find.

        :param identifiers: (identifier, value) of those that it asks for by name, who are made up if they are not known
            yet; None for all who are known.
        :param now: unix time.
        """
        candidates = self._contacts
        if identifiers is not None:
            requested = (self._request_found(*each, now) for each in identifiers)
            candidates = list({each.number: each for each in requested if each}.values())
        return (each for each in candidates if self._has_reached(each, max(each.exists_after, each.found_after), now))

    def _request_found(self, identifier: str, value: str, now: float) -> Contact | None:
        # Searches leave merged contacts out.
        return None if value.startswith(_MERGED) else self.request(identifier, value, now)

    def _has_reached(self, contact: Contact, seconds: float, now: float) -> bool:
        return (now - contact.known_from) * self._settings.speed >= seconds

    def _merged(self, identifier: str, value: str, now: float) -> ErrorReply:
        kept = self.request(identifier, value.removeprefix(_MERGED) or "NAME", now)
        words = "This contact has been merged. See the 'Link' header for the canonical contact."
        link = f'</contacts/{quote(kept.id, safe="", errors="replace")}>; rel="canonical"' if kept else ""
        return ErrorReply(410, "contact_merged", words, headers={"link": link} if link else None)

    def _make_up(self, identifier: str, value: str, now: float) -> Contact:
        contact_id = self._id_for(identifier, value)
        # Its id may be known already, from before a reset.
        contact = self._by_identifier.get(("id", contact_id))
        if contact is None:
            contact = Contact(
                id=contact_id,
                number=len(self._contacts),
                role=_role_of(value),
                known_from=now,
                exists_after=_seconds_until(value),
            )
            # Not made of the id as it is given, because another request may have that address.
            contact.email = f"{self._random.of(f'id:{contact_id}')[:12].hex()}@example.com"
        if identifier != "id":
            setattr(contact, identifier, value)
        self._add(contact)
        return contact

    def _id_for(self, identifier: str, value: str) -> str:
        return value if identifier == "id" else self._random.of(f"{identifier}:{value}")[:12].hex()

    def _add(self, contact: Contact) -> None:
        if contact.number == len(self._contacts):
            self._contacts.append(contact)
        for identifier in IDENTIFIERS:
            if (value := getattr(contact, identifier)) is not None:
                self._by_identifier.setdefault(_key(identifier, value), contact)


def address_of(recipient: dict[str, Any]) -> tuple[str, str]:
    """Return the field that identifies a recipient, and its value.

    :param recipient: as in a message's `to`.
    :return: `id`, `user_id`, `email` or `phone`, and the value as text.
    """
    is_contact = recipient.get("type") in ROLES
    keys = ("id", "user_id", "email", "phone") if is_contact else ("phone",)
    return next((key, str(recipient[key])) for key in keys if recipient.get(key) is not None)


def _role_of(name: str) -> str:
    return "lead" if name.startswith("lead") else "user"


def _seconds_until(name: str) -> float:
    soon = _SOON.match(name)
    return float(soon[1]) if soon else 0.0


def _key(identifier: str, value: str) -> tuple[str, str]:
    return identifier, value.casefold() if identifier == "email" else value
