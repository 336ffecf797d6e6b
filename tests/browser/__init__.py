"""Tests of Airflow's pages in a browser: `make test-browser`."""
