"""
Make users of Airflow's FAB auth manager who may read one DAG: `python -m tests.browser.viewer PASSWORD DAG_ID`.

The command line of the auth manager cannot give rights to a DAG that it has not seen.
"""

from __future__ import annotations

import sys
from typing import Final

from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

READER: Final = "ada"
NO_XCOM_READER: Final = "bob"
"""A user who may read states, and no XComs."""

_KINDS: Final = ("DAG Runs", "Task Instances", "Website")


def make_viewers(password: str, dag_id: str) -> None:
    """Make the users, each with a role of its own."""
    with get_application_builder() as builder:
        manager = builder.sm
        for name, kinds in {READER: (*_KINDS, "XComs"), NO_XCOM_READER: _KINDS}.items():
            role = manager.add_role(f"role of {name}")
            for resource in (*kinds, f"DAG:{dag_id}"):
                manager.add_permission_to_role(role, manager.create_permission("can_read", resource))
            assert manager.add_user(name, name, "Viewer", f"{name}@example.com", role, password), f"there is a {name}"


if __name__ == "__main__":
    make_viewers(*sys.argv[1:])
