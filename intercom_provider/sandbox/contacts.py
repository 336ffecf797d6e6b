"""The contacts of the workspace. Every name is a contact, except the magic names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.sandbox.delivery import SeededRandom

if TYPE_CHECKING:
    from intercom_provider.sandbox.settings import SandboxSettings

WORKSPACE: Final = "sandbox1"

# The effect of each magic name, in the order and words of the documentation.
MAGIC_NAMES: Final = {
    "unknown...": "never exists: 404",
    "soon-SECONDS-...": "exists from that many sandbox seconds after its first request; 404 until then",
    "lead...": "is a lead: 404 when addressed as a user",
}

_ROLES: Final = ("user", "lead")
_SOON: Final = re.compile(r"soon-(\d+(?:\.\d+)?)-")


class Contacts:
    """The contacts of one sandbox.

    :param settings: the sandbox's settings.
    """

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._random = SeededRandom(settings.seed, "contact")
        self._first_requests: dict[str, float] = {}

    def request(self, name: str, now: float) -> bool:
        """Record a request for a contact, from which the time of a `soon-` name counts.

        :param name: an Intercom id, a user_id or an email.
        :param now: unix time.
        :return: whether the contact exists.
        """
        if name.startswith("unknown"):
            return False
        if soon := _SOON.match(name):
            waited = now - self._first_requests.setdefault(name, now)
            return waited * self._settings.speed >= float(soon[1])
        return True

    def request_recipient(self, recipient: dict[str, Any], now: float) -> bool:
        """Record a request for the recipient of a message.

        :param recipient: as in a message's `to`: `type` with one of `id`, `user_id`, `email`; or `phone`.
        :param now: unix time.
        :return: whether the recipient exists, with this role.
        """
        address, name = address_of(recipient)
        if address == "phone":
            return True
        return self.request(name, now) and (recipient["type"] == "lead" or role_of(name) == "user")

    def id_of(self, field: str, value: str) -> str:
        """Return the Intercom id of a contact.

        :param field: `id`, `external_id` or `email`.
        :param value: the field's value.
        """
        return value if field == "id" else self._random.of(f"{field}:{value}")[:12].hex()

    def look_up(self, field: str, value: str, now: float) -> dict[str, Any] | None:
        """Record a request for a contact and return it in Intercom's format.

        :param field: `id`, `external_id` or `email`.
        :param value: the field's value.
        :param now: unix time.
        :return: None when it does not exist.
        """
        if not self.request(value, now):
            return None
        contact_id = self.id_of(field, value)
        since = int(now) - 86_400
        return {
            "type": "contact",
            "id": contact_id,
            "workspace_id": WORKSPACE,
            "external_id": value if field == "external_id" else None,
            "role": role_of(value),
            "email": value if field == "email" else f"{contact_id}@example.com",
            "phone": None,
            "name": None,
            "owner_id": None,
            "has_hard_bounced": False,
            "marked_email_as_spam": False,
            "unsubscribed_from_emails": False,
            "created_at": since,
            "updated_at": since,
            "signed_up_at": since,
            "last_seen_at": None,
            "last_replied_at": None,
            "last_contacted_at": None,
            "custom_attributes": {},
        }


def address_of(recipient: dict[str, Any]) -> tuple[str, str]:
    """Return the field that identifies a recipient, and its value.

    :param recipient: as in a message's `to`.
    :return: `id`, `user_id`, `email` or `phone`, and the value as text.
    """
    is_contact = recipient.get("type") in _ROLES
    keys = ("id", "user_id", "email", "phone") if is_contact else ("phone",)
    return next((key, str(recipient[key])) for key in keys if recipient.get(key) is not None)


def role_of(name: str) -> str:
    """Return the role of a contact: `user` or `lead`.

    :param name: an Intercom id, a user_id or an email.
    """
    return "lead" if name.startswith("lead") else "user"
