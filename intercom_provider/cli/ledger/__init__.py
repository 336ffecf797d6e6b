"""The commands ``ledger ...``: a table of what was sent, shown and corrected."""
