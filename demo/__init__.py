"""Run the WhatsApp examples on a real Airflow, against the sandbox: `python -m demo`."""
