"""Sending one message, or many: each of them once."""
