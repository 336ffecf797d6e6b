"""The button "Open in Intercom" on a task: where it leads stands in XCom, so that Airflow's UI asks nobody."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from intercom_provider.api.errors import IntercomError

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
"""Where people open Intercom, by the region in which it keeps the workspace's data."""

# A button is worth a moment.
_TIMEOUT: Final = 5.0


class IntercomLink(BaseOperatorLink):
    """Leads to the conversation that a task is about, where there is one, else to the inbox."""

    name = "Open in Intercom"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's signature
        """
        Give the address, which Airflow asks for when the task has run and keeps in the same XCom.

        :param operator: The task.
        :param ti_key: Its instance.
        :return: What the task has put there; "" when it did not get to know its connection.
        """
        from airflow.sdk.execution_time.xcom import XCom  # noqa: PLC0415 - only a worker has what it needs

        return str(XCom.get_value(ti_key=ti_key, key=self.xcom_key) or "")


def show_link(context: Context, url: str) -> None:
    """
    Put the address where Airflow's UI looks for it, at once and not only when the task has ended.

    :param context: The task's context.
    :param url: The address.
    """
    try:
        context["ti"].xcom_push(key=IntercomLink().xcom_key, value=url)
    except Exception as error:  # noqa: BLE001 - no task fails for a button
        log.warning("the button's address could not be kept: %s", type(error).__name__)


def inbox_url(settings: Settings) -> str:
    """
    Name the inbox of the connection's region.

    :param settings: The connection's settings.
    :return: The address.
    """
    return f"{APPS[settings.region]}/a/inbox"


def conversation_url(conversation_id: str, settings: Settings, client: IntercomClient) -> str:
    """
    Name a conversation, for which Intercom is asked once which workspace it is in.

    :param conversation_id: The conversation.
    :param settings: The connection's settings.
    :param client: Asks Intercom.
    :return: The address; the inbox's when Intercom does not tell.
    """
    from intercom_provider.api import calls  # noqa: PLC0415 - not when a DAG is parsed
    from intercom_provider.api.flow import RetryLimits  # noqa: PLC0415

    try:
        app = client.run(calls.me(RetryLimits(attempts=1, timeout=_TIMEOUT))).app
    except IntercomError as error:
        log.info("the button leads to the inbox, as the workspace is not known: %s", error)
        return inbox_url(settings)
    if app is None or not app.id_code:
        return inbox_url(settings)
    # The connection's region may stand for a proxy that leads elsewhere; Intercom's words for it are longer.
    named = (app.region or "").lower()
    region = next((region for region in APPS if named.startswith(region)), settings.region)
    return f"{APPS[region]}/a/inbox/{quote(app.id_code, safe='')}/inbox/conversation/{quote(conversation_id, safe='')}"
