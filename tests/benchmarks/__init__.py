"""Tests of the tables of `make bench`."""
