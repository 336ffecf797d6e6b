"""
The exceptions of tasks: Intercom's errors as the classes by which Airflow decides whether to retry.

A transient error is raised unchanged (an ``IntercomError``), and Airflow retries the task. Any other error becomes one
of these classes, and Airflow fails the task at once.

AirflowFailException
├── InvalidFieldError       a field of the operator, sensor or connection is wrong
├── IntercomRefusedError    Intercom or WhatsApp refused the request
├── MessageUnconfirmedError a message may or may not have been sent
└── DeliveryFailedError     more messages failed than max_failed allows
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from intercom_provider.api.errors import ExpiredError, IntercomError, InvalidInputError, UnconfirmedError
from intercom_provider.compat import AirflowFailException

if TYPE_CHECKING:
    from collections.abc import Iterator


class InvalidFieldError(AirflowFailException, ValueError):
    """A field is wrong. The text names the field and says what to do. Nothing was sent."""


class IntercomRefusedError(AirflowFailException):
    """Intercom or WhatsApp refused the request, and would refuse it again."""


class MessageUnconfirmedError(AirflowFailException):
    """A message may or may not have been sent. A person has to decide whether to send it again."""


class DeliveryFailedError(AirflowFailException):
    """More messages failed than ``max_failed`` allows."""


@contextmanager
def as_airflow_errors() -> Iterator[None]:
    """
    Convert permanent errors of Intercom into exceptions that Airflow does not retry.

    :raises AirflowFailException: One of the subclasses above, for a permanent error.
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
        # The text is that of the error. Chained, the log would show it twice.
        raise kind(str(error)) from None
