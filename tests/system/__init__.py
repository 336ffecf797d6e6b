"""Tests on a real Airflow, with killed processes, cleared tasks and restarted triggerers: `make test-system`."""
