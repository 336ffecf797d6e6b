"""Open the connections of a command in the way of Airflow's own commands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.compat import AirflowNotFoundException
from intercom_provider.hooks.intercom import IntercomHook
from intercom_provider.ledger.configuration import ledger_connection, open_ledger_database

if TYPE_CHECKING:
    from intercom_provider.ledger.database import Database


def open_hook(conn_id: str) -> IntercomHook:
    """
    Return a hook whose connection has been read.

    :param conn_id: The id of the connection.
    :return: The hook.
    :raises InvalidInputError: When the connection does not exist or has invalid values.
    """
    _read_airflows_database()
    hook = IntercomHook(conn_id)
    try:
        _ = hook.settings
    except AirflowNotFoundException:
        raise InvalidInputError.of(
            "--conn-id",
            f"Airflow has no connection {conn_id}. `airflow connections list` lists those in its database; another way "
            f"to set it is AIRFLOW_CONN_{conn_id.upper()} in the environment",
        ) from None
    return hook


def open_ledger(conn_id: str | None, option: str = "--conn-id") -> Database:
    """
    Return the ledger's database, whose connection has been read.

    :param conn_id: The id of its connection; None for that of Airflow's configuration.
    :param option: The option that names it (default ``--conn-id``), for the error.
    :return: The database; nothing has been connected yet.
    :raises InvalidInputError: When no ledger is configured, or it cannot be there.
    """
    known = ledger_connection(conn_id)
    if known is None:
        raise InvalidInputError.of(
            option, "is missing: give the connection of the ledger's database, or set [intercom] ledger_conn_id"
        )
    _read_airflows_database()
    return open_ledger_database(known)


def _read_airflows_database() -> None:
    # Airflow's own commands on connections set this, too. Without it, Airflow does not read its database.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
