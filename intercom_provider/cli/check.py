"""The command ``check``: show the owner and the permissions of a connection's token."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from intercom_provider.api import calls
from intercom_provider.api.errors import (
    ForbiddenError,
    IntercomError,
    NotFoundError,
    RefusedError,
    UnauthorizedError,
)
from intercom_provider.api.flow import RetryLimits
from intercom_provider.cli.connection import open_hook

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import TextIO

    from intercom_provider.api.client import IntercomClient
    from intercom_provider.api.flow import Flow

_LIMITS: Final = RetryLimits(attempts=2, timeout=10.0)
_VERSION_CODE: Final = "intercom_version_invalid"

# Each request is for something that does not exist, so "not found" means that the token may read it.
_READS: Final[tuple[tuple[str, Callable[[], Flow[object]]], ...]] = (
    ("find conversations", lambda: calls.find_conversation("0", _LIMITS)),
    ("find contacts", lambda: calls.find_contact(email="nobody@example.com", limits=_LIMITS)),
    ("read the statuses of a ruleset", lambda: calls.Pages("0").read(_LIMITS)),
    ("read the status of a WhatsApp message", lambda: calls.whatsapp_status("wamid.0", _LIMITS)),
)


def run(options: argparse.Namespace, out: TextIO) -> int:
    """
    Check a connection and print what its token may do.

    :param options: ``conn_id`` and ``probe_send``.
    :param out: The file for the result.
    :return: 0 when the token may do all that was tried, else 1.
    """
    hook = open_hook(options.conn_id)
    connected, text = hook.test_connection()
    if not connected:
        sys.stderr.write(f"{text}\n")
        return 1
    requests = [*_READS, *([("send messages", lambda: calls.probe_send(_LIMITS))] if options.probe_send else [])]
    lines = [text, "", "The token may"]
    allowed = True
    with hook.get_conn() as client:
        for name, request in requests:
            answer, reason = _try(client, request())
            allowed &= answer == "yes"
            lines += [f"  {answer:4} {name}", *([f"       {reason}"] if reason else [])]
    if not options.probe_send:
        lines.append("  ?    send messages: not tried (--probe-send tries it, without sending anything)")
    out.write("\n".join(lines) + "\n")
    return 0 if allowed else 1


def _try(client: IntercomClient, request: Flow[object]) -> tuple[str, str]:
    try:
        client.run(request)
    except (UnauthorizedError, ForbiddenError) as error:
        return "no", str(error)
    except (RefusedError, NotFoundError) as error:
        # Intercom refuses the request itself, so it has accepted the token.
        return ("no", str(error)) if error.code == _VERSION_CODE else ("yes", "")
    except IntercomError as error:
        return "?", str(error)
    return "yes", ""
