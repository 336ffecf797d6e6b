"""Sending a message, or many: each of them once."""
