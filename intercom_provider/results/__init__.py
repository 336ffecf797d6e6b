"""Write and read the outcome of each message of a batch, as JSON Lines on object storage."""

from intercom_provider.results.rows import read_results

__all__ = ["read_results"]
