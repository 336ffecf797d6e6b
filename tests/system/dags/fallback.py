"""The example that emails whom WhatsApp did not reach, for a real Airflow: a wait of seconds in place of hours."""

from __future__ import annotations

import runpy

from airflow.sdk.definitions._internal.contextmanager import DagContext

from tests.support.project import PROJECT

loaded = runpy.run_path(str(PROJECT / "example_dags" / "whatsapp_batch_with_email_fallback.py"))
# The example makes its DAG itself. Of two with one name, each process would take another one.
DagContext.autoregistered_dags.clear()
dag = loaded["whatsapp_batch_with_email_fallback"]()
for each in dag.tasks:
    each.intercom_conn_id = "intercom_sandbox"
    if each.task_id == "wait":
        # The sandbox delivers within ten seconds.
        each.timeout, each.poke_interval = 30, 1
