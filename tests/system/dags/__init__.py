"""What the Airflow of these tests runs."""
