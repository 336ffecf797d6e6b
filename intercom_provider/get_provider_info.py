"""What Airflow reads about this provider; imported by every Airflow process, so it imports nothing."""


def get_provider_info() -> dict[str, object]:
    """
    Describe the provider to Airflow's provider discovery.

    :return: The metadata that Airflow's ``provider_info.schema.json`` defines.
    """
    return {
        "package-name": "airflow-provider-intercom",
        "name": "Intercom",
        "description": "Send Intercom messages and wait until WhatsApp has delivered them.",
    }
