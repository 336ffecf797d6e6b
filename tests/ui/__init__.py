"""Tests of the page in Airflow, without a browser."""
