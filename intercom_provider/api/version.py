"""The versions of Intercom's API: parsing and comparing them."""

from __future__ import annotations

import re
from typing import Final

from intercom_provider.api.characters import strip_invisible
from intercom_provider.api.errors import InvalidInputError

_PREVIEW: Final = "Preview"
_NUMBERED = re.compile(r"([1-9][0-9]?)\.([0-9]{1,3})")


def parse_api_version(value: object) -> str:
    """
    Parse an API version.

    :param value: ``2.17``, ``Preview`` or its old name ``Unstable``; also a float, as YAML reads it.
    :return: The version as Intercom spells it in the ``Intercom-Version`` header.
    :raises InvalidInputError: When it is not a version.
    """
    text = strip_invisible(str(value))
    if text.casefold() in ("preview", "unstable"):
        return _PREVIEW
    if not isinstance(value, bool) and _NUMBERED.fullmatch(text):
        return text
    raise InvalidInputError.of(
        "api_version", f"{text[:40]!r} is not a version of Intercom's API: use one like 2.17, or Preview"
    )


def version_reaches(api_version: str, needed: str) -> bool:
    """
    Check whether a version is at least another one.

    :param api_version: A version, as :func:`parse_api_version` returns it.
    :param needed: The version that is needed.
    :return: True when it is the same version or a later one; Preview is the latest.
    """
    return _order(api_version) >= _order(needed)


def _order(api_version: str) -> tuple[float, float]:
    if api_version == _PREVIEW:
        return (float("inf"), 0)
    major, minor = api_version.split(".")
    return (int(major), int(minor))
