"""Intercom's HTTP API: models, errors, calls and two clients. Imports nothing of Airflow."""
