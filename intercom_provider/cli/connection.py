"""Open the connection of a command in the way of Airflow's own commands."""

from __future__ import annotations

import os

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.compat import AirflowNotFoundException
from intercom_provider.hooks.intercom import IntercomHook


def open_hook(conn_id: str) -> IntercomHook:
    """
    Return a hook whose connection has been read.

    :param conn_id: The id of the connection.
    :return: The hook.
    :raises InvalidInputError: When the connection does not exist or has invalid values.
    """
    # Airflow's own commands on connections set this, too. Without it, Airflow does not read its database.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
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
