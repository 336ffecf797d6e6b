"""Which database holds the ledger: a field of the operator or sensor, else Airflow's configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intercom_provider.api.values import is_missing
from intercom_provider.compat import conf

if TYPE_CHECKING:
    from intercom_provider.ledger.database import Database


def ledger_connection(value: object = None) -> str | None:
    """
    Return the connection of the ledger's database.

    :param value: The field ``ledger_conn_id`` (default None, for the configuration's).
    :return: Its id, or that of ``[intercom] ledger_conn_id``; None where neither is set.
    """
    given = value if not is_missing(value) else conf.get("intercom", "ledger_conn_id", fallback=None)
    return None if is_missing(given) else str(given).strip()


def open_ledger_database(conn_id: str) -> Database:
    """
    Read a connection, and prepare for connecting to its database, with the table that is configured.

    :param conn_id: The Airflow connection of the ledger.
    :return: The database; nothing has been connected yet.
    :raises InvalidInputError: When there is no such connection, or a ledger cannot be in its database.
    """
    from intercom_provider.ledger.database import open_database
    from intercom_provider.ledger.tables import DEFAULT_TABLE

    table = conf.get("intercom", "ledger_table", fallback=None)
    return open_database(conn_id, DEFAULT_TABLE if is_missing(table) else str(table).strip())
