"""One email, sent by a task that may kill itself."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import DAG

from intercom_provider.operators.message import SendMessageOperator
from tests.system.people import BODY, EMAIL

if TYPE_CHECKING:
    from airflow.sdk import Context


def die_before(context: Context) -> None:
    _die("before", context)


def die_after(context: Context, _: object = None) -> None:
    _die("after", context)


def _die(moment: str, context: Context) -> None:
    if context["params"]["die"] == moment and context["ti"].try_number == 1:
        os.kill(os.getpid(), signal.SIGKILL)


PARAMS = {"die": "never", "first_conn": "intercom_default", "repeat": "never", "ledger": ""}

with DAG("sending", schedule=None, params=PARAMS):
    SendMessageOperator(
        task_id="send",
        message_type="email",
        to={"type": "user", "email": EMAIL},
        subject="Your parcel",
        body=BODY,
        repeat="{{ params.repeat }}",
        # A variable, because a test changes it after the run has started, when its params are fixed.
        on_unconfirmed="{{ var.value.get('on_unconfirmed', 'fail') }}",
        ledger_conn_id="{{ params.ledger }}",
        intercom_conn_id="{{ params.first_conn if ti.try_number == 1 else 'intercom_default' }}",
        retries=2,
        retry_delay=timedelta(seconds=1),
        pre_execute=die_before,
        post_execute=die_after,
    )
