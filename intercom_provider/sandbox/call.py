"""A request and the endpoint that answers it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.sandbox.error_reply import ErrorReply
from intercom_provider.sandbox.versions import OLDEST, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from intercom_provider.sandbox.state import State

# The content of a reply: a dict is sent as JSON, bytes as a file.
Content = dict[str, Any] | bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request.

    :param state: the state of the sandbox that received it.
    :param now: unix time at which it arrived.
    :param method: the HTTP method.
    :param url: the sandbox's URL, as the client knows it: scheme, host and port.
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
    url: str
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
            raise ErrorReply(400, "parameter_invalid", "The body must be a JSON object")
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


# Intercom's own limit is not documented. Without one, a body of brackets would end the parser or what walks through it.
_MAX_DEPTH: Final = 100

# The keys are "METHOD /path"; a key that ends in "/" matches all paths that begin with it.
Endpoints = dict[str, Endpoint]


def parse_json(body: bytes) -> object:
    """Parse JSON.

    :param body: any bytes.
    :return: None when they are not JSON, which has no NaN and no infinity, or are nested too deeply.
    """
    try:
        value: object = _DECODER.decode(body.decode())
    except (ValueError, RecursionError):
        return None
    # Counting brackets is cheap and rules out nearly all bodies; some may be part of a text.
    may_be_deep = body.count(b"[") + body.count(b"{") > _MAX_DEPTH
    return None if may_be_deep and _is_deep(value) else value


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [child for each in level for child in _children(each)]
    return bool(level)


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse_number(text: str) -> float:
    raise ValueError(text)


def _parse_float(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_number(text)


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_number, parse_float=_parse_float)
