"""Tests of the local Intercom, over its socket."""
