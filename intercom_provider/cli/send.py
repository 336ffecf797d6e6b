"""The command ``send``: one message, after a question."""

from __future__ import annotations

import json
import sys
from contextlib import closing
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

    from intercom_provider.api.message import Message
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
    # A mistake in the fields is reported before the question is asked.
    message = parse_message(_fields(options)) if options.messages is None else _of_line(options, hook.settings)
    send = SingleSend(message, hook.settings, SendOptions(contact_wait=0))
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


def _fields(options: argparse.Namespace) -> dict[str, Any]:
    if options.type is None:
        raise InvalidInputError.of("--type", "is missing: give it, or --messages and --line")
    return {name: getattr(options, name) for name in _FIELDS} | {
        "message_type": options.type,
        "to": read_recipient(options.to),
        "components": _json("--components", options.components),
    }


def _of_line(options: argparse.Namespace, settings: Settings) -> Message:
    """Build the message of one line of a batch, for another recipient, and for nobody beside."""
    from intercom_provider.cli.reconcile import read_defaults
    from intercom_provider.sending.batch.input import BatchInput
    from intercom_provider.sending.batch.source import open_source

    if options.line is None:
        raise InvalidInputError.of("--line", "is missing: --messages needs the line whose message is sent")
    with closing(open_source(options.messages)) as source:
        row = next((row for row in source if row.number == options.line), None)
    if row is None or row.fields is None:
        raise InvalidInputError.of("--line", f"{options.line} of the messages {row.problem if row else 'is missing'}")
    alone = {"to": read_recipient(options.to), "cc": None, "bcc": None, "shared_conversation": None}
    defaults = {name: value for name, value in (read_defaults(options.defaults) or {}).items() if name not in alone}
    fields = {**row.fields, **alone}
    with BatchInput([fields], defaults, duplicates="skip", salt="", settings=settings) as batch:
        batch.check()
        item = next(iter(batch))
    if item.message is None:
        raise InvalidInputError.of("--line", f"{options.line}: {item.refusal}")
    # The question names them.
    options.type, options.from_admin_id = item.message.message_type, item.message.from_admin_id
    return item.message


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
