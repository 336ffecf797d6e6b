"""The people of the workspace: everybody is known, save those whose name says otherwise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.sandbox.delivery import SeededRandom

if TYPE_CHECKING:
    from intercom_provider.sandbox.settings import Settings

WORKSPACE: Final = "sandbox1"

# What a magic name does, in the order and words of the documentation.
MAGIC_NAMES: Final = {
    "unknown...": "is never there: 404",
    "soon-SECONDS-...": "is there that many sandbox seconds after it was first asked for; 404 until then",
    "lead...": "is a lead: 404 when addressed as a user",
}

_ROLES: Final = ("user", "lead")
_SOON: Final = re.compile(r"soon-(\d+(?:\.\d+)?)-")


class Contacts:
    """Who can be messaged.

    :param settings: the sandbox's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ids = SeededRandom(settings.seed, "contact")
        self._first_asked: dict[str, float] = {}

    def knows(self, name: str, now: float) -> bool:
        """Tell whether a contact is there.

        :param name: an Intercom id, a user_id or an email.
        :param now: unix time.
        """
        if name.startswith("unknown"):
            return False
        if soon := _SOON.match(name):
            waited = now - self._first_asked.setdefault(name, now)
            return waited * self._settings.speed >= float(soon[1])
        return True

    def can_address(self, recipient: dict[str, Any], now: float) -> bool:
        """Tell whether a recipient stands for somebody.

        :param recipient: as in a message's `to`: `type` with one of `id`, `user_id`, `email`; or `phone`.
        :param now: unix time.
        """
        address, name = address_of(recipient)
        if address == "phone":
            return True
        return self.knows(name, now) and (recipient["type"] == "lead" or role_of(name) == "user")

    def id_of(self, field: str, value: str) -> str:
        """Tell the Intercom id of a contact.

        :param field: `id`, `external_id` or `email`.
        :param value: what that field holds.
        """
        return value if field == "id" else self._ids.of(f"{field}:{value}")[:12].hex()

    def find(self, field: str, value: str, now: float) -> dict[str, Any] | None:
        """Describe a contact in Intercom's words.

        :param field: `id`, `external_id` or `email`.
        :param value: what that field holds.
        :param now: unix time.
        :return: None when nobody is there.
        """
        if not self.knows(value, now):
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
    """Tell what addresses a recipient.

    :param recipient: as in a message's `to`.
    :return: `id`, `user_id`, `email` or `phone`, and its value.
    """
    is_contact = recipient.get("type") in _ROLES
    keys = ("id", "user_id", "email", "phone") if is_contact else ("phone",)
    return next((key, str(recipient[key])) for key in keys if recipient.get(key) is not None)


def role_of(name: str) -> str:
    """Tell the role of a contact that is asked for without one: `user` or `lead`.

    :param name: an Intercom id, a user_id or an email.
    """
    return "lead" if name.startswith("lead") else "user"
