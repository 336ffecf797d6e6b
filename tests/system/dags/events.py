"""The example whose DAG a watcher starts, with seconds instead of minutes."""

from __future__ import annotations

from typing import Final

from tests.support.project import PROJECT

EXAMPLE: Final = PROJECT / "example_dags" / "whatsapp_campaign_settled.py"
CONN: Final = 'intercom_conn_id="intercom_with_a_campaign"'
HERE: Final = {
    "settle_for=30 * 60, poke_interval=5 * 60": f"settle_for=2, poke_interval=1, {CONN}",
    'body_format="text",': f'body_format="text", {CONN},',
}

text = EXAMPLE.read_text(encoding="utf-8")
for usual, here in HERE.items():
    assert text.count(usual) == 1, usual
    text = text.replace(usual, here)
# Compiled under this file's name, so that Airflow takes the DAG for one of this file.
exec(compile(text, __file__, "exec"))  # noqa: S102 - our own example
