"""The plugin that adds the page to Airflow. Every Airflow process loads it, so it imports next to nothing."""

from __future__ import annotations

from typing import Any, Final

try:
    from airflow.sdk.plugins_manager import AirflowPlugin
except ImportError:
    # Older versions of Airflow have one class only.
    from airflow.plugins_manager import AirflowPlugin  # type: ignore[assignment]  # the same class in another module

from airflow.configuration import conf

from intercom_provider.ui.app import page_app

_NAME: Final = "Intercom messages"
_IS_ON: Final = conf.getboolean("intercom", "ui", fallback=True)
_APPS: Final[list[Any]] = [{"app": page_app, "url_prefix": "/intercom", "name": _NAME}]
_VIEWS: Final[list[Any]] = [
    {
        "name": _NAME,
        # Relative to Airflow's base URL, whatever prefix that has.
        "href": "intercom/",
        "destination": "nav",
        "category": "browse",
        "url_route": "intercom-messages",
    }
]


class IntercomPlugin(AirflowPlugin):
    """Adds *Browse > Intercom messages*, unless ``[intercom] ui`` is false."""

    name = "intercom"
    fastapi_apps = _APPS if _IS_ON else []
    external_views = _VIEWS if _IS_ON else []
