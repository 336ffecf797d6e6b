"""Measure this provider against the code that one would write without it: `make bench`."""
