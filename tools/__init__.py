"""What the project's own upkeep needs; none of it is installed."""
