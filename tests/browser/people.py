"""Names, phones and texts of the messages, which the pages of a task must not show."""

from __future__ import annotations

from typing import Final

NAME: Final = "Ada Lovelace"
PHONE: Final = "+4479001234"
"""All but its last two digits."""
BODY: Final = "Your order is on its way."
CODE: Final = "AUTUMN"
