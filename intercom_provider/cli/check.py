"""``check``: whose token a connection has, and what it may do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from intercom_provider.api import calls
from intercom_provider.api.errors import (
    ApiError,
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

_PATIENCE: Final = RetryLimits(attempts=2, timeout=10.0)
_VERSION: Final = "intercom_version_invalid"

# What is asked for is nowhere: that it is not found is the answer of an Intercom that would have shown it.
_READS: Final[tuple[tuple[str, Callable[[], Flow[object]]], ...]] = (
    ("find conversations", lambda: calls.find_conversation("0", _PATIENCE)),
    ("find contacts", lambda: calls.find_contact(email="nobody@example.com", limits=_PATIENCE)),
    ("read the statuses of a ruleset", lambda: calls.Pages("0").read(_PATIENCE)),
    ("read the status of a WhatsApp message", lambda: calls.whatsapp_status("wamid.0", _PATIENCE)),
)


def run(options: argparse.Namespace, out: TextIO) -> int:
    """
    Check a connection.

    :param options: ``conn_id`` and ``probe_send``.
    :param out: Where its result goes.
    :return: 0 when all that was tried is allowed.
    """
    hook = open_hook(options.conn_id)
    connected, text = hook.test_connection()
    if not connected:
        sys.stderr.write(f"{text}\n")
        return 1
    asked = [*_READS, *([("send messages", lambda: calls.probe_send(_PATIENCE))] if options.probe_send else [])]
    lines = [text, "", "The token may"]
    allowed = True
    with hook.get_conn() as client:
        for name, ask in asked:
            answer, why = _answer(client, ask())
            allowed &= answer == "yes"
            lines += [f"  {answer:4} {name}", *([f"       {why}"] if why else [])]
    if not options.probe_send:
        lines.append("  ?    send messages: not tried; --probe-send does, without sending anything")
    out.write("\n".join(lines) + "\n")
    return 0 if allowed else 1


def _answer(client: IntercomClient, ask: Flow[object]) -> tuple[str, str]:
    try:
        client.run(ask)
    except (UnauthorizedError, ForbiddenError) as error:
        return "no", str(error)
    except (RefusedError, NotFoundError) as error:
        # It was read, and not understood: the token was let in.
        return ("no", str(error)) if error.code == _VERSION else ("yes", "")
    except ApiError as error:
        return "?", str(error)
    except IntercomError as error:
        return "?", str(error)
    return "yes", ""
