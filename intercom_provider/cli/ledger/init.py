"""``ledger init``: create the ledger's tables, or bring those of an earlier release up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intercom_provider.cli.connection import open_ledger
from intercom_provider.ledger.database_thread import Transactions
from intercom_provider.ledger.tables import SCHEMA_VERSION

if TYPE_CHECKING:
    import argparse
    from typing import TextIO


def run(options: argparse.Namespace, out: TextIO) -> int:
    """
    Create the tables, or print how.

    :param options: ``conn_id`` and ``print_only``.
    :param out: The standard output.
    :return: The exit status: 0.
    """
    database = open_ledger(options.conn_id)
    if options.print_only:
        out.write(f"{database.ddl()}\n")
        return 0
    before = Transactions(database).call(database.migrate)
    changed = f", which had version {before}" if before < SCHEMA_VERSION else ""
    out.write(
        f"The ledger is in the table {database.tables.messages.name} of the connection {database.conn_id}, version "
        f"{max(before, SCHEMA_VERSION)}{changed}.\n"
    )
    return 0
