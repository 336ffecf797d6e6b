"""A request, as the endpoints see it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from intercom_provider.sandbox.api_error import ApiError
from intercom_provider.sandbox.versions import OLDEST, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from intercom_provider.sandbox.state import State

# Of a reply: a dict is sent as JSON, bytes as a file.
Content = dict[str, Any] | bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request.

    :param state: the sandbox that it came to.
    :param now: unix time at which it arrived.
    :param method: the HTTP method.
    :param path: the path, decoded.
    :param rest: what the path holds where its endpoint's pattern ends in `/`.
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
        """Read the body.

        :raises ApiError: 400 when it is no JSON object.
        """
        found = parsed(self.body)
        if not isinstance(found, dict):
            raise ApiError(400, "bad_request", "The body must be a JSON object")
        return found


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers a method and path.

    :param answer: what makes the content of its reply.
    :param since: the API version that brought it.
    :param accepts: the media type that the `Accept` header must allow.
    """

    answer: Callable[[Call], Content]
    since: Version = OLDEST
    accepts: str = "application/json"


# Keys are "METHOD /path"; one that ends in "/" stands for all paths that begin with it.
Endpoints = dict[str, Endpoint]


def parsed(body: bytes) -> object:
    """Read JSON.

    :param body: bytes from anywhere.
    :return: None when they are no JSON.
    """
    try:
        return json.loads(body)
    except ValueError:
        return None
