"""Intercom's HTTP API: messages, models, errors, calls and two clients. Imports nothing from Airflow."""
