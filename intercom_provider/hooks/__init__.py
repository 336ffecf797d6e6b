"""The hook: Airflow's connection to Intercom."""
