"""A DAG that a watcher starts."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from intercom_provider.triggers.ruleset import RulesetSettledTrigger

campaign = Asset(
    "campaign",
    watchers=[
        AssetWatcher(
            name="settled",
            trigger=RulesetSettledTrigger(
                "12345", settle_for=2, poke_interval=1, intercom_conn_id="intercom_with_a_campaign"
            ),
        )
    ],
)

with DAG("on_settled", schedule=[campaign]):

    @task
    def counts(triggering_asset_events: Any = None) -> dict[str, Any]:
        told: dict[str, Any] = triggering_asset_events[campaign][-1].extra["payload"]
        return told

    counts()
