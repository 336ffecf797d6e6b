"""When to retry a task whose messages met the rate limit; for Airflow 3.3 and later."""

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

# Windows are ten seconds long: what claims to open much later than that is not believed.
_LONGEST: Final = 3_600.0
# The clock of the server and a start-up take longer than this; asking a moment early would be a second 429.
_MARGIN: Final = 1.0


class IntercomRetryPolicy(RetryPolicy):
    """
    Retry when Intercom's rate limit opens again instead of after ``retry_delay``.

    Give it to a task that has retries: ``retry_policy=IntercomRetryPolicy(), retries=3``. Every other
    error keeps the task's own delays.
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

        :param exception: What the task failed with.
        :param try_number: The try that failed; not used.
        :param max_tries: How many there may be; Airflow sees to it.
        :param context: The task's context; not used.
        :return: A retry at the time Intercom named; else what the task itself says.
        """
        if not isinstance(exception, RateLimitedError) or exception.retry_at is None:
            return RetryDecision.default()
        delay = max(0.0, min(exception.retry_at - time.time(), _LONGEST)) + _MARGIN
        return RetryDecision.retry(delay=timedelta(seconds=delay), reason="Intercom's rate limit is used up")

    def serialize(self) -> dict[str, object]:
        """
        Give what Airflow stores of the policy with a DAG.

        :return: Nothing: it has no settings.
        """
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, object]) -> IntercomRetryPolicy:
        """
        Make the policy from what was stored.

        :param data: What :meth:`serialize` gave.
        :return: The policy.
        """
        del data
        return cls()
