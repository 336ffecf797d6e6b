"""Start a DAG when a WhatsApp Outbound message of Intercom has settled, and report the result in the Messenger."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetWatcher, dag, task

from intercom_provider.operators.message import SendMessageOperator
from intercom_provider.triggers.ruleset import RulesetSettledTrigger

# The arguments of a watcher are fixed when the DAG is parsed: params and templates cannot be used.
campaign = Asset(
    "whatsapp_autumn_offer",
    watchers=[
        AssetWatcher(
            name="settled",
            # Some phones stay off: do not wait for the last two percent.
            trigger=RulesetSettledTrigger("12345", max_pending=0.02, settle_for=30 * 60, poke_interval=5 * 60),
        )
    ],
)


@dag(schedule=[campaign], tags=["intercom", "whatsapp", "asset"])
def whatsapp_campaign_settled() -> None:
    """Report the campaign's result to the owner of the shop, whenever it has been sent to more people."""

    @task
    def summary(triggering_asset_events: Any = None) -> str:
        counts = triggering_asset_events[campaign][-1].extra["payload"]
        return (
            f"Your offer has reached {counts['reached']} of {counts['total']} customers; {counts['read']} have read it."
        )

    SendMessageOperator(
        task_id="report",
        message_type="in_app",
        to={"type": "user", "user_id": "shop-owner-7"},
        body=summary(),  # type: ignore[arg-type]  # another task's output
        body_format="text",
    )


whatsapp_campaign_settled()
