"""Waiting until WhatsApp has delivered messages, or until a contact has answered."""
