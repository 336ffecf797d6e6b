"""The outcome of each message of a batch, as JSON Lines on object storage."""
