"""The sandbox as an ASGI application: access, routing, replies."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from intercom_provider.sandbox import control, endpoints
from intercom_provider.sandbox.call import Call, Content, Endpoint, Endpoints, parse_json
from intercom_provider.sandbox.cut_reply import NO_STATUS, CutReply
from intercom_provider.sandbox.error_reply import ErrorReply
from intercom_provider.sandbox.faults import CutConnection
from intercom_provider.sandbox.page import find_page
from intercom_provider.sandbox.rate_limit import WINDOW_SECONDS
from intercom_provider.sandbox.request_log import RequestRecord
from intercom_provider.sandbox.versions import parse_version, require_version
from intercom_provider.sandbox.workspace import NotThereError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from intercom_provider.sandbox.allowed_hosts import AllowedHosts
    from intercom_provider.sandbox.state import State

_MAX_SLEEP_SECONDS: Final = 0.1


class App:
    """The sandbox as an ASGI application.

    Routing is a dictionary, because Starlette's router and middlewares would cost more than most answers.

    :param state: the state of the sandbox.
    :param allowed_hosts: the hosts for which it answers.
    """

    def __init__(self, state: State, allowed_hosts: AllowedHosts) -> None:
        self._state = state
        self._allowed_hosts = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            self._allowed_hosts.check(scope)
        except ErrorReply as error:
            await _refuse(error, {})(scope, receive, send)
            return
        if page := find_page(scope["method"], scope["path"]):
            await page(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        call = Call(
            state=self._state,
            now=time.time(),
            method=request.method,
            url=f"{scope['scheme']}://{request.headers['host']}",
            path=scope["path"],
            params=dict(request.query_params),
            headers=request.headers,
            body=body,
        )
        # Before these lines nothing of the request has taken effect. After them all of it has, and nothing of the
        # reply has been sent.
        with self._state.lock:
            is_control = call.path.startswith(control.PREFIX)
            response = self._control(call) if is_control else self._api(call)
        if not is_control:
            await self._delay(time.monotonic() + self._state.settings.latency)
        await response(scope, receive, send)

    async def _delay(self, until: float) -> None:
        # Short sleeps, so that a sandbox that stops sends its delayed replies instead of dropping them. An
        # asyncio.Event cannot do this, because stop() is called from another thread.
        while (left := until - time.monotonic()) > 0 and not self._state.stopping:  # noqa: ASYNC110
            await asyncio.sleep(min(left, _MAX_SLEEP_SECONDS))

    def _control(self, call: Call) -> Response:
        _, endpoint, rest = _find_endpoint(control.ENDPOINTS, call)
        return _respond(lambda: endpoint.answer(replace(call, rest=rest)), {})

    def _api(self, call: Call) -> Response:
        settings = self._state.settings
        is_authorized = call.headers.get("authorization") == f"Bearer {settings.token}"
        within_limit, headers = self._state.rate_limit.count(call.now) if is_authorized else (True, {})
        name, endpoint, rest = _find_endpoint(endpoints.ENDPOINTS, call)

        def answer() -> Content:
            if not is_authorized:
                raise ErrorReply(401, "unauthorized", "Access Token Invalid")
            if not within_limit:
                words = f"Exceeded rate limit of {settings.rate_limit} in {WINDOW_SECONDS}_seconds"
                raise ErrorReply(429, "rate_limit_exceeded", words)
            _check_accept(call, endpoint.accepts)
            version = parse_version(call.headers.get("intercom-version"), settings.default_version)
            require_version(endpoint.since, version)
            fault = self._state.faults.take(name)
            if fault and fault.status:
                raise fault.error()
            content = endpoint.answer(replace(call, rest=rest, version=version))
            if fault:
                raise fault.error()
            return content

        response = _respond(answer, headers)
        record = RequestRecord(
            time=call.now,
            method=call.method,
            path=call.path,
            params=call.params,
            headers=call.headers,
            json=parse_json(call.body) if call.body else None,
            status=NO_STATUS if isinstance(response, CutReply) else response.status_code,
        )
        self._state.log.add(record, name)
        return response


def _find_endpoint(table: Endpoints, call: Call) -> tuple[str, Endpoint, str]:
    route = f"{call.method} {call.path}"
    if route in table and not route.endswith("/"):
        return route, table[route], ""
    for pattern, endpoint in table.items():
        if pattern.endswith("/") and route.startswith(pattern) and route != pattern:
            return pattern, endpoint, route.removeprefix(pattern)
    return "elsewhere", Endpoint(_refuse_unknown_path), ""


def _refuse_unknown_path(_: Call) -> dict[str, Any]:
    raise NotThereError


def _check_accept(call: Call, media_type: str) -> None:
    accepted = call.headers.get("accept", "")
    if not any(each in accepted for each in (media_type, "*/*", "application/*")):
        raise ErrorReply(406, "media_type_not_acceptable", f"The Accept header should be {media_type}")


def _respond(answer: Callable[[], Content], headers: dict[str, str]) -> Response:
    try:
        content = answer()
    except NotThereError:
        return _refuse(ErrorReply(404, "not_found", "Resource Not Found"), headers)
    except ErrorReply as error:
        return _refuse(error, headers)
    except CutConnection:
        return CutReply()
    headers = {"x-request-id": str(uuid.uuid4()), **headers}
    if isinstance(content, bytes):
        return Response(content, 200, headers, "application/octet-stream")
    return _json(200, content, headers)


def _refuse(error: ErrorReply, headers: dict[str, str]) -> Response:
    request_id = str(uuid.uuid4())
    return _json(error.status, error.body(request_id), {"x-request-id": request_id, **headers, **error.headers})


def _json(status: int, content: dict[str, Any], headers: dict[str, str]) -> Response:
    encoded = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    return Response(encoded, status, headers, "application/json; charset=utf-8")
