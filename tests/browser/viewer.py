"""
Make a user of Airflow's FAB auth manager who may read one DAG: `python -m tests.browser.viewer NAME PASSWORD DAG_ID`.

The command line of the auth manager cannot give rights to a DAG that it has not seen.
"""

from __future__ import annotations

import sys

from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

_KINDS = ("DAG Runs", "Task Instances", "XComs", "Website")


def make_viewer(name: str, password: str, dag_id: str) -> None:
    """Make the user, and a role with the rights."""
    with get_application_builder() as builder:
        manager = builder.sm
        role = manager.add_role(f"reads {dag_id}")
        for resource in (*_KINDS, f"DAG:{dag_id}"):
            manager.add_permission_to_role(role, manager.create_permission("can_read", resource))
        assert manager.add_user(name, name, "Viewer", f"{name}@example.com", role, password), "there is such a user"


if __name__ == "__main__":
    make_viewer(*sys.argv[1:])
