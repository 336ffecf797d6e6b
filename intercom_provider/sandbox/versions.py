"""Intercom's API versions, and what came with which."""

from __future__ import annotations

from typing import Final

from intercom_provider.sandbox.api_error import ApiError

Version = tuple[int, int]

OLDEST: Final[Version] = (1, 0)
LISTS: Final[Version] = (2, 14)
WHATSAPP: Final[Version] = (2, 16)
WHATSAPP_IDS: Final[Version] = (2, 17)
PREVIEW: Final[Version] = (99, 0)
SMS: Final = PREVIEW

_KNOWN: Final[dict[str, Version]] = {
    **{f"1.{minor}": (1, minor) for minor in range(5)},
    **{f"2.{minor}": (2, minor) for minor in range(18)},
    "Preview": PREVIEW,
    "Unstable": PREVIEW,
}


def parse_version(header: str | None) -> Version:
    """Read the `Intercom-Version` header.

    :param header: its value; None when it is missing, which means the oldest version.
    :return: versions compare as they should: Preview is above every number.
    :raises ApiError: 400 for a version that does not exist.
    """
    if header is None:
        return OLDEST
    if header not in _KNOWN:
        raise ApiError(400, "intercom_version_invalid", f"There is no version {header!r}")
    return _KNOWN[header]


def need(least: Version, version: Version) -> None:
    """Refuse what a version does not have.

    :param least: the version that brought it.
    :param version: the request's version.
    :raises ApiError: 400 when it is too old.
    """
    if version < least:
        raise ApiError(400, "intercom_version_invalid", "Requested resource is not available in current API version")
