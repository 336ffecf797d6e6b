"""The buttons on a task. Their addresses are in XCom, so that Airflow's UI makes no request."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from intercom_provider.api.errors import IntercomError
from intercom_provider.compat import conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

    from intercom_provider.api.client import IntercomClient
    from intercom_provider.api.settings import Settings

log = logging.getLogger(__name__)

APPS: Final = {
    "us": "https://app.intercom.com",
    "eu": "https://app.eu.intercom.com",
    "au": "https://app.au.intercom.com",
}
"""The addresses of Intercom's web app, by the region in which Intercom keeps the workspace's data."""

# A task must not wait long for the address of a button.
_MAX_LOOKUP_SECONDS: Final = 5.0


class IntercomLink(BaseOperatorLink):
    """Links a task to its conversation in Intercom, or to the inbox if it has none."""

    name = "Open in Intercom"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's signature
        """
        Return the address. Airflow calls this after the task has run, and stores the result in the same XCom.

        :param operator: The task.
        :param ti_key: The task instance.
        :return: The address that the task has stored; "" when it failed before it had read its connection.
        """
        from airflow.sdk.execution_time.xcom import XCom

        return str(XCom.get_value(ti_key=ti_key, key=self.xcom_key) or "")


class DeliveryLink(BaseOperatorLink):
    """Links a task to its own run on the page *Intercom messages*."""

    name = "Delivery"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's signature
        """
        Return the address. Airflow calls this after the task has run.

        :param operator: The task.
        :param ti_key: The task instance.
        :return: The address, relative to Airflow's base URL; "" where the configuration turns the page off.
        """
        return delivery_url(ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index)


def delivery_url(dag_id: str, run_id: str, task_id: str, map_index: int | None) -> str:
    """
    Return the address of a task instance on the page *Intercom messages*.

    :param dag_id: The DAG.
    :param run_id: The run.
    :param task_id: The task.
    :param map_index: The index of a mapped task instance; -1 or None for a task that is not mapped.
    :return: The address, relative to Airflow's base URL; "" where the configuration turns the page off.
    """
    if not conf.getboolean("intercom", "ui", fallback=True):
        return ""
    parts = (dag_id, run_id, task_id, str(-1 if map_index is None else map_index))
    return f"intercom/#/{'/'.join(quote(part, safe='') for part in parts)}"


def show_link(context: Context, url: str) -> None:
    """
    Store the buttons' addresses where Airflow's UI reads them, at once and not only when the task has ended.

    :param context: The task's context.
    :param url: The address in Intercom.
    """
    try:
        instance = context["ti"]
        instance.xcom_push(key=IntercomLink().xcom_key, value=url)
        own = delivery_url(instance.dag_id, instance.run_id, instance.task_id, instance.map_index)
        instance.xcom_push(key=DeliveryLink().xcom_key, value=own)
    except Exception as error:  # noqa: BLE001 - a task must not fail because of a button
        log.warning("the button's address could not be stored: %s", type(error).__name__)


def inbox_url(settings: Settings) -> str:
    """
    Return the address of the inbox in the connection's region.

    :param settings: The connection's settings.
    :return: The address.
    """
    return f"{APPS[settings.region]}/a/inbox"


def conversation_url(conversation_id: str, settings: Settings, client: IntercomClient) -> str:
    """
    Return the address of a conversation. One request to Intercom finds out the workspace.

    :param conversation_id: The conversation.
    :param settings: The connection's settings.
    :param client: The client for that request.
    :return: The address; that of the inbox when the workspace is unknown.
    """
    from intercom_provider.api import calls
    from intercom_provider.api.flow import RetryLimits

    try:
        app = client.run(calls.me(RetryLimits(attempts=1, timeout=_MAX_LOOKUP_SECONDS))).app
    except IntercomError as error:
        log.info("the button leads to the inbox, as the workspace is not known: %s", error)
        return inbox_url(settings)
    if app is None or not app.id_code:
        return inbox_url(settings)
    # With a proxy, the connection's region may be another one. Intercom's names of regions are longer than ours.
    named = (app.region or "").lower()
    region = next((region for region in APPS if named.startswith(region)), settings.region)
    return f"{APPS[region]}/a/inbox/{quote(app.id_code, safe='')}/inbox/conversation/{quote(conversation_id, safe='')}"
