"""Tests of what `make bench` makes of its numbers."""
