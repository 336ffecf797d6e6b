"""What only a real Airflow can show: processes that are killed, tasks that are cleared, waits that are handed over."""
