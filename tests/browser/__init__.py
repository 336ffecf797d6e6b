"""Airflow's pages as a person sees them; they need a browser, and so have a target of their own."""
