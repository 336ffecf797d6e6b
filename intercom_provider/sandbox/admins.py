"""The admins of the workspace, from whom messages come."""

from __future__ import annotations

from typing import Any, Final

ADMINS: Final = {"814860": "Ada Sandbox", "814861": "Ben Sandbox", "814862": "Cleo Sandbox"}
WITHOUT_SEAT: Final = "814862"


def admin_wire(admin_id: str) -> dict[str, Any]:
    """Build an admin in Intercom's format.

    :param admin_id: a key of `ADMINS`.
    """
    name = ADMINS[admin_id]
    return {
        "type": "admin",
        "id": admin_id,
        "name": name,
        "email": f"{name.split()[0].lower()}@example.com",
        "away_mode_enabled": False,
        "away_mode_reassign": False,
        "has_inbox_seat": admin_id != WITHOUT_SEAT,
        "team_ids": [],
    }
