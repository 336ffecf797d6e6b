"""Intercom's API versions, and the features that each added."""

from __future__ import annotations

from typing import Final

from intercom_provider.sandbox.error_reply import ErrorReply

Version = tuple[int, int]

OLDEST: Final[Version] = (1, 0)
BACKDATING: Final[Version] = (2, 11)
CONTACT_BY_EXTERNAL_ID: Final[Version] = (2, 13)
COPIES: Final[Version] = (2, 14)
RECIPIENT_LISTS: Final[Version] = (2, 14)
WHATSAPP: Final[Version] = (2, 16)
WHATSAPP_IDS: Final[Version] = (2, 17)
EXACT_DATES: Final[Version] = (2, 17)
PREVIEW: Final[Version] = (99, 0)
SMS: Final = PREVIEW

_VERSIONS: Final[dict[str, Version]] = {
    **{f"1.{minor}": (1, minor) for minor in range(5)},
    **{f"2.{minor}": (2, minor) for minor in range(18)},
    "Preview": PREVIEW,
    "Unstable": PREVIEW,
}


def check_version(name: str) -> str:
    """Check whether there is a version.

    :param name: its name, as in the header `Intercom-Version`.
    :return: the name.
    :raises ValueError: when there is none of that name.
    """
    if name not in _VERSIONS:
        raise ValueError(f"there is no version {name[:20]!r}")
    return name


def parse_version(header: str | None, default: str) -> Version:
    """Parse the `Intercom-Version` header.

    :param header: its value; None when it is missing.
    :param default: the version of requests without it.
    :return: the version, comparable: Preview is above every number.
    :raises ErrorReply: 400 for a version that does not exist.
    """
    name = default if header is None else header
    if name not in _VERSIONS:
        raise ErrorReply(400, "intercom_version_invalid", f"There is no version {name[:20]!r}")
    return _VERSIONS[name]


def require_version(minimum: Version, version: Version) -> None:
    """Refuse a request whose version is too old for a feature.

    :param minimum: the version that added the feature.
    :param version: the request's version.
    :raises ErrorReply: 400 when it is too old.
    """
    if version < minimum:
        raise ErrorReply(400, "intercom_version_invalid", "Requested resource is not available in current API version")
