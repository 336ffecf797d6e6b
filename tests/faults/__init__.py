"""Tests in which processes are killed and databases break under a batch: `make test-faults`."""
