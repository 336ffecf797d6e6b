"""The settings of a client: region or base URL, API version, token, default sender."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final

import httpx

from intercom_provider.api.characters import strip_invisible
from intercom_provider.api.errors import InvalidInputError

REGIONS: Final = {
    "us": "https://api.intercom.io",
    "eu": "https://api.eu.intercom.io",
    "au": "https://api.au.intercom.io",
}
"""Base URLs by the region in which Intercom keeps the workspace's data."""

DEFAULT_REGION: Final = "us"
DEFAULT_API_VERSION: Final = "2.17"
DEFAULT_TIMEOUT_SECONDS: Final = 30.0
_MAX_PORT: Final = 65_535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def parse_region(value: object) -> str:
    """
    Parse a region.

    :param value: ``us``, ``eu`` or ``au``, in any case.
    :return: The region in lower case.
    :raises InvalidInputError: When Intercom has no such region.
    """
    text = strip_invisible(str(value)).lower()
    if text not in REGIONS:
        raise InvalidInputError.of(
            "region", f"{text[:40]!r} is not a region of Intercom: use one of {', '.join(REGIONS)}"
        )
    return text


def parse_base_url(host: str, *, port: int | None = None, allow_http: bool = False) -> str:
    """
    Parse the base URL that replaces the region's URL, such as that of a proxy or the sandbox.

    :param host: A URL, or a bare host name, which means https.
    :param port: A port, which must not contradict the URL; None (default) for the port in the URL.
    :param allow_http: Whether plain http to another machine is allowed, which sends the token unencrypted (default
        False).
    :return: The URL without a slash at its end.
    :raises InvalidInputError: When it is not a URL, has credentials or a query, is plain http to another machine, or
        has another port than ``port``.
    """
    text = strip_invisible(host)
    if "://" not in text:
        # Two or more colons are an IPv6 address, which needs brackets in a URL.
        text = f"https://[{text}]" if text.count(":") > 1 and not text.startswith("[") else f"https://{text}"
    try:
        url = httpx.URL(text)
        host_name = url.host
    except (httpx.InvalidURL, UnicodeError, ValueError):
        # The value is not quoted, because it may be a password in the place of a port.
        raise InvalidInputError.of(
            "host", "is not a URL: give a host name or a base URL such as https://proxy.example"
        ) from None
    if url.scheme not in ("http", "https") or host_name in ("", "http", "https"):
        raise InvalidInputError.of("host", "must be a host name or an http(s) URL")
    if url.userinfo or url.query or url.fragment:
        raise InvalidInputError.of("host", "must be a base URL alone: no user, password, query or fragment")
    if port is not None:
        _check_port(port, text, url)
        url = url.copy_with(port=port)
    if url.port is not None and not 0 < url.port <= _MAX_PORT:
        raise InvalidInputError.of("port", "must be from 1 to 65535")
    if url.scheme == "http" and not allow_http and not is_loopback(host_name):
        raise InvalidInputError.of(
            "host",
            "is plain http to another machine, which would send the token unencrypted: use https, or set allow_http "
            "in the connection's extra",
        )
    return str(url).rstrip("/")


def _check_port(port: int, text: str, url: httpx.URL) -> None:
    """Check a connection's port against its URL: the form suggests 443, and few see it beside a URL with a port."""
    authority = text.partition("://")[2].partition("/")[0]
    own = url.port
    if own is None and re.search(r":[0-9]+$", authority):
        own = _DEFAULT_PORTS[url.scheme]  # written out, which httpx leaves away
    if own is not None and own != port:
        raise InvalidInputError.of("port", f"is {port}, and host names port {own}: leave one of them empty")
    if own is None and url.scheme == "http" and port == _DEFAULT_PORTS["https"]:
        raise InvalidInputError.of("port", "443 is that of https, and host says http: correct one of them")


def is_loopback(host: str) -> bool:
    """
    Check whether a host is this machine.

    :param host: A host name or an IP address.
    :return: True for ``localhost`` and the loopback addresses.
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Settings:
    """
    The settings of a client, checked.

    :param token: The access token. Not in the repr.
    :param region: The workspace's region (default ``us``).
    :param base_url: The base URL; None (default) for the region's.
    :param api_version: The ``Intercom-Version`` of every request (default ``2.17``).
    :param admin_id: The default sender; None (default) when every message names its sender.
    :param timeout: Seconds for one request, from connecting to the reply's last byte (default 30).
    :param dry_run: Whether messages are checked and not sent (default False).
    """

    token: str = field(repr=False)
    region: str = DEFAULT_REGION
    base_url: str | None = None
    api_version: str = DEFAULT_API_VERSION
    admin_id: str | int | None = None
    timeout: float = DEFAULT_TIMEOUT_SECONDS
    dry_run: bool = False

    @property
    def url(self) -> str:
        """The base URL: ``base_url``, else the region's."""
        return self.base_url or REGIONS[self.region]
