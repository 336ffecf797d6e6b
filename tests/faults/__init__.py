"""Tests that kill processes, break databases under a batch, and send texts of a megabyte: `make test-faults`."""
