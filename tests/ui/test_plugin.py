"""The plugin: what Airflow finds, what it costs, and how it is turned off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

from intercom_provider.ui.app import page_app
from intercom_provider.ui.plugin import IntercomPlugin

SHOW = """
import json, sys
from intercom_provider.ui.plugin import IntercomPlugin as plugin
from intercom_provider.links import delivery_url
print(json.dumps([len(plugin.fastapi_apps), len(plugin.external_views), delivery_url("a", "b", "c", -1)]))
"""
OWN = """
import airflow.sdk, airflow.configuration, airflow.plugins_manager, json, sys
try:
    import airflow.sdk.plugins_manager
except ImportError:
    pass
before = set(sys.modules)
import intercom_provider.ui.plugin
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def run(code: str, **env: str) -> Any:
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], env={**os.environ, **env}, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_airflow_finds_the_plugin_by_its_entry_point() -> None:
    (found,) = entry_points(group="airflow.plugins", name="intercom")
    assert found.load() is IntercomPlugin
    assert IntercomPlugin.name == "intercom"
    assert [(each["app"], each["url_prefix"]) for each in IntercomPlugin.fastapi_apps] == [(page_app, "/intercom")]
    (view,) = IntercomPlugin.external_views
    assert (view["category"], view["name"]) == ("browse", "Intercom messages")
    assert not view["href"].startswith(("/", "http"))


def test_the_plugin_loads_nothing_but_itself() -> None:
    assert [name for name in run(OWN) if name != "intercom_provider"] == [
        "intercom_provider.ui",
        "intercom_provider.ui.app",
        "intercom_provider.ui.plugin",
    ]


def test_the_configuration_turns_page_and_button_off() -> None:
    assert run(SHOW, AIRFLOW__INTERCOM__UI="False") == [0, 0, ""]
