"""The metadata of this provider. Every Airflow process imports this module, so it imports nothing."""

CONNECTION_FIELDS: dict[str, dict[str, object]] = {
    "region": {
        "label": "Region",
        "description": "Where Intercom keeps the workspace's data.",
        "schema": {
            "type": ["string", "null"],
            "enum": ["us", "eu", "au"],
            "default": "us",
            "values_display": {"us": "US", "eu": "Europe", "au": "Australia"},
        },
    },
    "api_version": {
        "label": "API version",
        "description": "WhatsApp needs 2.16 or later, SMS needs Preview.",
        "schema": {
            "type": ["string", "null"],
            "enum": ["2.17", "2.16", "2.15", "2.14", "Preview"],
            "default": "2.17",
        },
    },
    "admin_id": {
        "label": "Default sender",
        "description": "The id of the teammate (admin) who sends messages without a sender of their own. "
        "The connection test shows the admin of the token.",
        "schema": {"type": ["string", "null"]},
    },
    "timeout": {
        "label": "Time-out",
        "description": "Seconds that one request may take.",
        "schema": {"type": ["integer", "null"], "default": 30, "minimum": 1},
    },
    "dry_run": {
        "label": "Dry run",
        "description": "Check and log everything, send nothing.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
}
"""The fields of the connection form that Airflow stores in the connection's extra."""

FIELD_BEHAVIOUR: dict[str, object] = {
    "hidden-fields": ["login", "schema"],
    "relabeling": {"password": "Access token", "host": "Base URL"},
    "placeholders": {
        "password": "Developer Hub > your app > Configure > Authentication",
        "host": "Empty, or what replaces the region's URL: a proxy, the sandbox",
        # These two versions refuse to test a connection without a port.
        "port": "443 if Test says Bad Request (Airflow 3.3.1 and 3.3.2)",
    },
}
"""Labels, placeholders and hidden fields among Airflow's own fields of the connection form."""

CONFIGURATION: dict[str, dict[str, object]] = {
    "ledger_conn_id": {
        "description": "The connection of the PostgreSQL or SQLite database in which senders record what was sent, so "
        "that a message of a campaign goes out once, whichever DAG or run sends it. Empty: Airflow's task state store, "
        "which knows one run of one task.",
        "version_added": "0.1.0",
        "type": "string",
        "example": "intercom_ledger",
        "default": None,
    },
    "ledger_table": {
        "description": "The name of the ledger's table: small letters, digits and underscores, at most 40 of them.",
        "version_added": "0.1.0",
        "type": "string",
        "example": None,
        "default": "intercom_messages",
    },
    "ui": {
        "description": "Whether Airflow shows the page Browse > Intercom messages and the button Delivery.",
        "version_added": "0.1.0",
        "type": "boolean",
        "example": None,
        "default": "True",
    },
}
"""The options of the section ``[intercom]`` in Airflow's configuration."""


def get_provider_info() -> dict[str, object]:
    """
    Return the metadata for Airflow's provider discovery.

    :return: The metadata that Airflow's ``provider_info.schema.json`` defines.
    """
    integration = "Intercom"
    return {
        "package-name": "airflow-provider-intercom",
        "name": integration,
        "description": "Send Intercom messages and wait until WhatsApp has delivered them.",
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://developers.intercom.com/docs/references/rest-api/api.intercom.io/messages",
                "tags": ["service"],
            }
        ],
        "connection-types": [
            {
                "connection-type": "intercom",
                "hook-name": integration,
                "hook-class-name": "intercom_provider.hooks.intercom.IntercomHook",
                "ui-field-behaviour": FIELD_BEHAVIOUR,
                "conn-fields": CONNECTION_FIELDS,
            }
        ],
        "hooks": [{"integration-name": integration, "python-modules": ["intercom_provider.hooks.intercom"]}],
        "operators": [{"integration-name": integration, "python-modules": ["intercom_provider.operators.message"]}],
        "sensors": [
            {
                "integration-name": integration,
                "python-modules": [
                    "intercom_provider.sensors.message_reply",
                    "intercom_provider.sensors.message_status",
                ],
            }
        ],
        "triggers": [
            {
                "integration-name": integration,
                "python-modules": [
                    "intercom_provider.triggers.message_reply",
                    "intercom_provider.triggers.message_status",
                    "intercom_provider.triggers.ruleset",
                ],
            }
        ],
        "cli": ["intercom_provider.cli.get_commands"],
        "config": {"intercom": {"description": "The ledger of what was sent, and the page.", "options": CONFIGURATION}},
        "extra-links": ["intercom_provider.links.IntercomLink", "intercom_provider.links.DeliveryLink"],
        "notifications": ["intercom_provider.notifications.message.IntercomNotifier"],
    }
