"""Refusals and faults to order: by the name of a recipient, or for the next requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from intercom_provider.sandbox.error_reply import ErrorReply

if TYPE_CHECKING:
    from collections.abc import Iterable


class CutConnection(Exception):  # noqa: N818 - an outcome, which an endpoint raises instead of returning
    """Raised to close the connection instead of replying."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A way in which a request goes wrong.

    :param effect: its description, for people.
    :param status: the HTTP status; 0 for a connection that is cut after the request has taken effect.
    :param code: Intercom's error code.
    :param message: Intercom's words.
    """

    effect: str
    status: int
    code: str = ""
    message: str = ""

    def error(self) -> ErrorReply | CutConnection:
        """Return the error to raise."""
        return ErrorReply(self.status, self.code, self.message) if self.status else CutConnection()


# In the order and words of the documentation.
FAULTS: Final = {
    "unsubscribed": Fault(
        "403, an email to somebody who has unsubscribed",
        403,
        "action_forbidden",
        "This user is unsubscribed from emails",
    ),
    "plan": Fault("403, the plan does not include it", 403, "api_plan_restricted", "Active subscription needed."),
    "permission": Fault(
        "401, the token lacks the permission", 401, "token_unauthorized", "Not authorized to access resource"
    ),
    "error": Fault("500, nothing is done", 500, "server_error", "Something went wrong"),
    "unavailable": Fault("503, nothing is done", 503, "service_unavailable", "Sorry, the API service is unavailable"),
    "cut": Fault("the connection is cut without a reply; what was asked for is done", 0),
}

# High endings, as those that decide about a delivery.
MAGIC_ENDINGS: Final = {"99906": "plan", "99907": "permission", "99908": "error", "99909": "cut"}


@dataclass(slots=True)
class Order:
    """A fault that was ordered.

    :param fault: a key of `FAULTS`.
    :param requests: how many more requests it meets; None for all.
    :param endpoint: the requests that it meets, such as `POST /messages`; None for all.
    """

    fault: str
    requests: int | None
    endpoint: str | None


class Faults:
    """The faults that were ordered from one sandbox."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    def order(self, fault: str, requests: int | None, endpoint: str | None) -> None:
        """Order a fault in place of an earlier order of the same fault for the same requests.

        :param fault: a key of `FAULTS`.
        :param requests: how many requests it meets; 0 for no more, None for all.
        :param endpoint: the requests that it meets, such as `POST /messages`; None for all.
        :raises ValueError: when there is no such fault.
        """
        if fault not in FAULTS:
            raise ValueError(f"there is no fault {fault[:40]!r}: there are {', '.join(FAULTS)}")
        self.orders = [each for each in self.orders if (each.fault, each.endpoint) != (fault, endpoint)]
        if requests != 0:
            self.orders.append(Order(fault, requests, endpoint))

    def take(self, endpoint: str) -> Fault | None:
        """Use up the oldest order that meets a request.

        :param endpoint: the request's endpoint.
        """
        for order in self.orders:
            if order.endpoint in (None, endpoint):
                if order.requests is not None:
                    order.requests -= 1
                    if not order.requests:
                        self.orders.remove(order)
                return FAULTS[order.fault]
        return None


def fault_of(names: Iterable[str], *, unsubscribed: bool) -> Fault | None:
    """Return the fault of a message, by the names of its recipients.

    :param names: their ids, emails and phones.
    :param unsubscribed: whether it is an email, and one of them has unsubscribed.
    """
    if unsubscribed:
        return FAULTS["unsubscribed"]
    for name in names:
        fault = MAGIC_ENDINGS.get(name[-5:]) if name.startswith("+") else name.partition("-")[0]
        if fault in FAULTS and fault != "unsubscribed" and (name.startswith("+") or "-" in name):
            return FAULTS[fault]
    return None
