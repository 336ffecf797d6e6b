"""What `make bench` runs on a real Airflow."""
