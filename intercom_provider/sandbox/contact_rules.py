"""The rules of Intercom for the body of `POST /contacts`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from intercom_provider.sandbox.contacts import ROLES
from intercom_provider.sandbox.error_reply import ErrorReply

if TYPE_CHECKING:
    from collections.abc import Callable


def check_contact(wire: dict[str, Any]) -> dict[str, Any]:
    """Check a contact that is to be created.

    :param wire: the request's body.
    :return: its fields, without those that are null and those that the sandbox does not keep.
    :raises ErrorReply: 400, naming the field.
    """
    given = {name: wire[name] for name in _CHECKS if wire.get(name) is not None}
    for name, value in given.items():
        if not _CHECKS[name](value):
            raise ErrorReply(400, "parameter_invalid", f"{name} is invalid", name)
    if not given.keys() & {"email", "external_id", "role"}:
        raise ErrorReply(400, "parameter_not_found", "A contact needs an email, an external_id or a role")
    return given


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_id(value: object) -> bool:
    return _is_text(value) or (isinstance(value, int) and not isinstance(value, bool))


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_moment(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_CHECKS: Final[dict[str, Callable[[object], bool]]] = {
    "role": lambda value: value in ROLES,
    "external_id": _is_id,
    "email": lambda value: isinstance(value, str) and "@" in value.strip("@"),
    "phone": _is_text,
    "name": lambda value: isinstance(value, str),
    "signed_up_at": _is_moment,
    "last_seen_at": _is_moment,
    "unsubscribed_from_emails": _is_flag,
    "has_hard_bounced": _is_flag,
    "marked_email_as_spam": _is_flag,
    "language_override": _is_text,
    "custom_attributes": lambda value: isinstance(value, dict),
}
