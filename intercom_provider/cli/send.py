"""The command ``send``: one message, after a question."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.api import calls
from intercom_provider.api.errors import InvalidInputError, UnconfirmedError
from intercom_provider.api.json_text import read_json
from intercom_provider.api.message import parse_message
from intercom_provider.cli.connection import open_hook
from intercom_provider.cli.output import ask
from intercom_provider.sending.options import SendOptions
from intercom_provider.sending.single import SingleSend

if TYPE_CHECKING:
    import argparse
    from typing import TextIO

    from intercom_provider.api.models import Me
    from intercom_provider.api.settings import Settings

_FIELDS: Final = ("body", "body_format", "subject", "template", "locale", "from_admin_id", "key")


def run(options: argparse.Namespace, out: TextIO) -> int:
    """
    Send one message.

    :param options: The message's fields, ``conn_id`` and ``yes``.
    :param out: Where the receipt is written.
    :return: 0 when the message was sent, or was checked in a dry run.
    :raises IntercomError: When the message was not sent, or may not have been.
    """
    hook = open_hook(options.conn_id)
    fields: dict[str, Any] = {name: getattr(options, name) for name in _FIELDS}
    fields |= {
        "message_type": options.type,
        "to": read_recipient(options.to),
        "components": _json("--components", options.components),
    }
    # A mistake in the fields is reported before the question is asked.
    send = SingleSend(parse_message(fields), hook.settings, SendOptions(contact_wait=0))
    with hook.get_conn() as client:
        if not options.yes and not _confirm(options, hook.settings, client.run(calls.me())):
            sys.stderr.write("Nothing was sent.\n")
            return 1
        try:
            receipt, _, cause, _ = send.run(client)
        except KeyboardInterrupt:
            if client.may_have_sent:
                raise UnconfirmedError("the command was interrupted") from None
            raise
    if cause is not None:
        raise cause
    out.write(json.dumps(receipt.model_dump(), ensure_ascii=False) + "\n")
    return 0 if receipt.outcome in ("sent", "dry_run") else 1


def read_recipient(text: str) -> object:
    """
    Read the option ``--to``.

    :param text: A phone, ``user:ID``, ``lead:ID`` or JSON.
    :return: The recipient, as a message has it.
    :raises InvalidInputError: When it is none of these.
    """
    role, colon, contact_id = text.partition(":")
    if text.startswith("+"):
        return {"phone": text}
    if colon and role in ("user", "lead"):
        return {"type": role, "id": contact_id}
    if text.startswith(("{", "[")):
        return _json("--to", text)
    raise InvalidInputError.of("--to", 'must be a phone (+44...), user:ID, lead:ID, or JSON such as {"type": ..., ...}')


def _json(name: str, text: str | None) -> Any:
    return None if text is None else read_json(name, text, "must be JSON")


def _confirm(options: argparse.Namespace, settings: Settings, found: Me) -> bool:
    workspace = f"workspace {found.app.name!r} ({found.app.region})" if found.app else "an unnamed workspace"
    sender = options.from_admin_id or settings.admin_id
    sys.stderr.write(f"{options.type} message to {options.to}, from admin {sender}, in {workspace}\n")
    if settings.dry_run:
        sys.stderr.write("The connection has dry_run set: nothing will be sent.\n")
    return ask("Send it?")
