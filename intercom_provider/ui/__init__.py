"""The page in Airflow: what became of the messages, read by the viewer's browser from Airflow's own REST API."""
