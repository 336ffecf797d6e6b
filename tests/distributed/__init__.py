"""Tests with several workers on one machine: `make test-distributed`."""
