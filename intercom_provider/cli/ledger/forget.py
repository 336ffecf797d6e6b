"""``ledger forget``: take one person's rows out of the ledger."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.cli.connection import open_ledger
from intercom_provider.cli.output import confirm
from intercom_provider.cli.send import read_recipient
from intercom_provider.ledger.corrections import find_person, forget_person
from intercom_provider.ledger.database_thread import Transactions

if TYPE_CHECKING:
    import argparse
    from typing import TextIO

_FIELDS = ("phone", "id", "user_id", "email")
_MAX_SECONDS = 60.0


def run(options: argparse.Namespace, out: TextIO) -> int:
    """
    Delete the rows of one person.

    :param options: ``campaign``, ``key``, ``to``, ``conn_id`` and ``yes``.
    :param out: The standard output.
    :return: The exit status: 0; 1 when nothing was deleted.
    """
    if (options.key is None) == (options.to is None):
        raise InvalidInputError.of("--key, --to", "exactly one of them has to be given")
    recipients = [] if options.to is None else _recipients(options.to)
    database = open_ledger(options.conn_id)
    transactions = Transactions(database, limit=_MAX_SECONDS)
    salt = transactions.call(database.set_up)
    find = partial(find_person, database, salt=salt, campaign=options.campaign, key=options.key, recipients=recipients)
    found = transactions.run(find)
    if found.under_way:
        sys.stderr.write(f"{found.under_way:,} rows stay: their messages are being sent. Run this again afterwards\n")
    if not found.number:
        hint = "" if options.to is None else ". Messages with a key are found by --key only"
        sys.stderr.write(f"The ledger has no row of this person that can be deleted{hint}\n")
        return 1
    question = f"{found.number:,} rows of this person are deleted. The person may be messaged again then."
    if not options.yes and not confirm(question, "Delete them?"):
        return 1
    deleted = transactions.run(partial(forget_person, database, rows=found))
    out.write(f"{deleted:,} rows deleted\n")
    return 0


def _recipients(text: str) -> list[tuple[str, str]]:
    """Return what a person may be addressed by; user:42 is Intercom's id 42, or yours."""
    given = read_recipient(text)
    fields = {name: str(given[name]).strip() for name in _FIELDS if name in given} if isinstance(given, dict) else {}
    if len(fields) != 1:
        raise InvalidInputError.of("--to", "needs exactly one of phone, id, user_id and email")
    [(name, value)] = fields.items()
    if name == "id" and not text.lstrip().startswith("{"):
        return [("id", value), ("user_id", value)]
    return [(name, value.lower() if name == "email" else value)]
