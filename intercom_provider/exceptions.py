"""
What tasks raise: Intercom's errors in the classes by which Airflow decides about retries.

A transient error is raised as it is (an ``IntercomError``), and Airflow retries the task. What a retry
cannot mend becomes one of these, and Airflow fails the task at once.

AirflowFailException
├── InvalidFieldError       a field of the operator, sensor or connection is wrong
├── IntercomRefusedError    Intercom said no
├── MessageUnconfirmedError a message may have been sent or not
└── DeliveryFailedError     more messages failed than were allowed to
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from intercom_provider.api.errors import ExpiredError, IntercomError, InvalidInputError, UnconfirmedError
from intercom_provider.compat import AirflowFailException

if TYPE_CHECKING:
    from collections.abc import Iterator


class InvalidFieldError(AirflowFailException, ValueError):
    """A field is wrong; the message names it and says what to do. Nothing was sent."""


class IntercomRefusedError(AirflowFailException):
    """Intercom, or WhatsApp behind it, said no, and would say it again."""


class MessageUnconfirmedError(AirflowFailException):
    """A message may have been sent or not; sending it again is for a person to decide."""


class DeliveryFailedError(AirflowFailException):
    """More messages failed than ``max_failed`` allows."""


@contextmanager
def as_airflow_errors() -> Iterator[None]:
    """
    Turn what a retry cannot mend into what Airflow does not retry.

    :raises AirflowFailException: One of its subclasses above, for a permanent error.
    """
    try:
        yield
    except InvalidInputError as error:
        raise InvalidFieldError(str(error)) from None
    except UnconfirmedError as error:
        raise MessageUnconfirmedError(str(error)) from None
    except IntercomError as error:
        if error.transient:
            raise
        kind = AirflowFailException if isinstance(error, ExpiredError) else IntercomRefusedError
        # It says all that the error said; chained, the log would say it twice.
        raise kind(str(error)) from None
