"""
Apache Airflow provider for Intercom: send messages, and wait until WhatsApp has delivered them or somebody answers.

These classes are public, each under one path:

- ``intercom_provider.operators.message``: ``SendMessageOperator``, ``SendMessageBatchOperator``
- ``intercom_provider.sensors.message_status``: ``MessageStatusSensor``
- ``intercom_provider.sensors.message_reply``: ``MessageReplySensor``
- ``intercom_provider.triggers.ruleset``: ``RulesetSettledTrigger``
- ``intercom_provider.triggers.message_status``, ``intercom_provider.triggers.message_reply``: the sensors' triggers
- ``intercom_provider.notifications.message``: ``IntercomNotifier``
- ``intercom_provider.hooks.intercom``: ``IntercomHook``
- ``intercom_provider.retry``: ``IntercomRetryPolicy`` (Airflow 3.3 and later)
- ``intercom_provider.links``: ``IntercomLink``, the button on a task
- ``intercom_provider.testing``: the pytest fixture ``intercom_sandbox``
- ``intercom_provider.exceptions``: the exceptions of tasks
- ``intercom_provider.api.errors``: the errors of the hook and its clients
- ``intercom_provider.api.models``: the hook's results (``Receipt``, ``StatusEvent``, ``WhatsAppStatus``)

Everything else is internal and may change. Nothing is imported here, because Airflow imports this package in every
process.
"""

__version__ = "0.1.0"
