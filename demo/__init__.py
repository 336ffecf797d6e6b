"""`python -m demo`: the WhatsApp examples on a real Airflow, against the sandbox."""
