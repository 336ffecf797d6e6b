"""Whom the messages go to, and what they say: not for everybody who may look at a task."""

from __future__ import annotations

from typing import Final

NAME: Final = "Ada Lovelace"
PHONE: Final = "+4479001234"
"""All but its last two digits."""
BODY: Final = "Your order is on its way."
CODE: Final = "AUTUMN"
