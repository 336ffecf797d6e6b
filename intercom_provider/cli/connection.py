"""The connection of a command, found as Airflow's own commands find it."""

from __future__ import annotations

import os

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.compat import AirflowNotFoundException
from intercom_provider.hooks.intercom import IntercomHook


def open_hook(conn_id: str) -> IntercomHook:
    """
    Give a hook whose connection has been read.

    :param conn_id: The connection.
    :return: The hook.
    :raises InvalidInputError: When there is no such connection, or it is wrong.
    """
    # As Airflow's own commands on connections do: without it, Airflow's database is not asked.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    hook = IntercomHook(conn_id)
    try:
        _ = hook.settings
    except AirflowNotFoundException:
        raise InvalidInputError.of(
            "--conn-id",
            f"Airflow knows no connection {conn_id} (airflow connections list shows those in its database; "
            f"AIRFLOW_CONN_{conn_id.upper()} in the environment is one, too)",
        ) from None
    return hook
