"""The hosts for which a sandbox answers, so that no page of another site can use it.

A browser lets every page post to every address, this machine's included, and a page can point its own name at 127.0.0.1
(DNS rebinding). Both show in what a page cannot change: its `Origin`, and the `Host` that it asked for.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from intercom_provider.sandbox.error_reply import ErrorReply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Scope

_HOST: Final = re.compile(r"(\[[^\s\[\]]+\]|[^\s\[\]:/?#@\\*]+)(?::\d*)?")
_MAX_QUOTED_CHARS: Final = 60


class AllowedHosts:
    """The names and addresses under which a sandbox may be asked.

    The names of this machine are always among them.

    :param address: the address on which it listens.
    :param more: other names and addresses, as `parse_host` reads them.
    """

    def __init__(self, address: str, more: Iterable[str] = ()) -> None:
        self._names = {"localhost", _normalize(address), *map(parse_host, more)}

    def check(self, scope: Scope) -> None:
        """Check where a request comes from.

        :param scope: the request's ASGI scope.
        :raises ErrorReply: 403 when it is for another host, or comes from a page that is not the sandbox's own.
        """
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        host = hosts[0] if len(hosts) == 1 else ""
        if not self._allows(host, scope):
            name = _quote(host)
            raise _forbidden(f"The sandbox does not answer for the host {name}: start it with --allow-host to allow it")
        own = f"{scope['scheme']}://{host}".lower()
        for origin in (value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"):
            if origin.lower() != own:
                raise _forbidden(f"A page of {_quote(origin)} may not use the sandbox: only its own pages may")

    def _allows(self, host: str, scope: Scope) -> bool:
        found = _HOST.fullmatch(host)
        if not found:
            return False
        name = _normalize(found[1])
        # The address that the connection reached is the sandbox's own, also where it listens on all of them.
        return name in self._names or _is_loopback(name) or (bool(scope["server"]) and name == scope["server"][0])


def parse_host(text: str) -> str:
    """Parse a host that is to be allowed.

    :param text: a name or an IP address, IPv6 with or without brackets.
    :return: its normal form, for comparison.
    :raises ValueError: when it is something else, such as a URL.
    """
    name = _normalize(text)
    bare = f"[{name}]" if ":" in name else name
    found = _HOST.fullmatch(bare)
    if not found or found[1] != bare or (":" in name and not _is_address(name)):
        raise ValueError(f"a host is a name or an IP address, without scheme and port; {_quote(text)} is neither")
    return name


def _normalize(name: str) -> str:
    bare = name.removeprefix("[").removesuffix("]") if ":" in name else name
    return str(ip_address(bare)) if _is_address(bare) else bare.lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    return _is_address(name) and ip_address(name).is_loopback


def _quote(text: str) -> str:
    return repr(text[:_MAX_QUOTED_CHARS])


def _forbidden(message: str) -> ErrorReply:
    return ErrorReply(403, "forbidden", message)
