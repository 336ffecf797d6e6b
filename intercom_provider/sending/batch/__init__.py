"""Sending many messages: what comes in, what is on its way, what was sent, what came of it."""
