"""A retry policy for tasks that hit Intercom's rate limit; for Airflow 3.3 and later."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from intercom_provider.api.errors import RateLimitedError

try:
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
except ImportError as error:
    raise ImportError(
        "IntercomRetryPolicy needs Airflow 3.3 or later. Leave retry_policy out: a task is then retried after its "
        "retry_delay"
    ) from error

if TYPE_CHECKING:
    from airflow.sdk import Context

# Windows are ten seconds long, so a much later opening is a mistake of the header.
_MAX_DELAY_SECONDS: Final = 3_600.0
# A retry that starts a moment too early would get another 429.
_MARGIN_SECONDS: Final = 1.0


class IntercomRetryPolicy(RetryPolicy):
    """
    Retry when Intercom's rate limit opens again instead of after ``retry_delay``.

    For a task with retries: ``retry_policy=IntercomRetryPolicy(), retries=3``. After every other error the task's
    own delays apply.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002 - the signature is Airflow's
        max_tries: int,  # noqa: ARG002
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        """
        Decide when to retry.

        :param exception: The exception with which the task failed.
        :param try_number: The number of the failed try; not used.
        :param max_tries: How many tries there may be; not used, because Airflow checks it.
        :param context: The task's context; not used.
        :return: A retry at the time that Intercom named; otherwise the task's own delay.
        """
        if not isinstance(exception, RateLimitedError) or exception.retry_at is None:
            return RetryDecision.default()
        delay = max(0.0, min(exception.retry_at - time.time(), _MAX_DELAY_SECONDS)) + _MARGIN_SECONDS
        return RetryDecision.retry(delay=timedelta(seconds=delay), reason="Intercom's rate limit is used up")

    def serialize(self) -> dict[str, object]:
        """
        Serialize the policy for Airflow's stored DAG.

        :return: An empty dict, because the policy has no settings.
        """
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, object]) -> IntercomRetryPolicy:
        """
        Deserialize the policy.

        :param data: The return value of :meth:`serialize`.
        :return: The policy.
        """
        del data
        return cls()
