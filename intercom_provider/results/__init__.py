"""Write and read the outcome of each message of a batch, as JSON Lines on object storage."""
