"""Apache Airflow provider for Intercom messages."""

__version__ = "0.1.0"
