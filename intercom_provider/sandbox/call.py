"""A request and the endpoint that answers it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from intercom_provider.sandbox.error_reply import ErrorReply
from intercom_provider.sandbox.versions import OLDEST, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from intercom_provider.sandbox.state import State

# The content of a reply: a dict is sent as JSON, bytes as a file.
Content = dict[str, Any] | bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request.

    :param state: the state of the sandbox that received it.
    :param now: unix time at which it arrived.
    :param method: the HTTP method.
    :param path: the path, decoded.
    :param rest: the part of the path after its endpoint's pattern, if the pattern ends in `/`.
    :param params: the query, decoded.
    :param headers: the headers, their names in any case.
    :param body: the body's bytes.
    :param version: the API version.
    """

    state: State
    now: float
    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    rest: str = ""
    version: Version = OLDEST

    def json(self) -> dict[str, Any]:
        """Parse the body as a JSON object.

        :raises ErrorReply: 400 when it is not one.
        """
        value = parse_json(self.body)
        if not isinstance(value, dict):
            raise ErrorReply(400, "bad_request", "The body must be a JSON object")
        return value


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The handler of a method and path.

    :param answer: builds the content of the reply.
    :param since: the API version that added it.
    :param accepts: the media type that the `Accept` header must allow.
    """

    answer: Callable[[Call], Content]
    since: Version = OLDEST
    accepts: str = "application/json"


# The keys are "METHOD /path"; a key that ends in "/" matches all paths that begin with it.
Endpoints = dict[str, Endpoint]


def parse_json(body: bytes) -> object:
    """Parse JSON.

    :param body: any bytes.
    :return: None when they are not JSON.
    """
    try:
        return json.loads(body)
    except ValueError:
        return None
