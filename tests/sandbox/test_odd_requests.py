"""Odd requests get an answer in Intercom's shape: never a 500, never a hang, never a reply that is not JSON."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from intercom_provider.sandbox import control, endpoints

from .wire import email, in_app, sms, whatsapp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.sandbox import Sandbox

# Paths that end in "/" get a rest.
API_ROUTES: Final = [name.split() for name in endpoints.ENDPOINTS]
CONTROL_ROUTES: Final = [name.split() for name in control.ENDPOINTS]
ROUTES: Final = [*API_ROUTES, *CONTROL_ROUTES, ["GET", "/nowhere"], ["POST", "/nothing"], ["GET", "/_sandbox/"]]

DEEP: Final = 100_000
ODD_BODIES: Final[dict[str, bytes]] = {
    "nothing": b"",
    "a blank": b" ",
    "half": b'{"message_type": "inapp", ',
    "no JSON": b"message_type=inapp&body=Hello",
    "a list": b"[]",
    "null": b"null",
    "a number": b"1",
    "a text": b'"x"',
    "an empty object": b"{}",
    "NUL": b"\0" * 10,
    "NUL in a text": b'{"id": "\\u0000", "message_id": "\\u0000", "body": "\\u0000"}',
    "no UTF-8": b'{"id": "\xff\xfe"}',
    "half a character": b'{"id": "\\ud800", "message_id": "\\udfff", "whatsapp_message_id": "\\ud800"}',
    "half a character as bytes": b'{"id": "\xed\xa0\x80"}',
    "UTF-16": '{"id": "x"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"id": "x"}',
    "deep lists": b"[" * DEEP,
    "deep closed lists": b'{"events": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"query":' * DEEP + b"1" + b"}" * DEEP,
    "just too deep": b'{"query": ' + b"[" * 300 + b"]" * 300 + b"}",
    "NaN": b'{"size": NaN, "id": 1, "created_at_after": NaN}',
    "infinity": b'{"size": Infinity, "id": 1}',
    "minus infinity": b'{"over": -Infinity, "id": 1}',
    "a float without end": b'{"id": 1, "size": 1e999, "over": 1e999}',
    "a number of 5,000 digits": b'{"id": ' + b"9" * 5000 + b"}",
    "a number of 4,000 digits": b'{"id": 1, "size": ' + b"9" * 4000 + b"}",
    "the same name twice": b'{"id": 1, "id": [], "size": 1, "size": {}}',
    "a megabyte": b'{"id": "' + b"x" * 1_000_000 + b'"}',
}
ODD_QUERIES: Final = [
    "per_page=0",
    "per_page=-1",
    "per_page=1e3",
    "per_page=" + "9" * 5000,
    "per_page=%D9%A3",
    "per_page=",
    "per_page=1&per_page=x",
    "per_page[]=1",
    "last=0",
    "last=-5",
    "last=nan",
    "last=inf",
    "last=" + "9" * 4000,
    "last=" + "9" * 5000,
    "last=1_0",
    "last=%C2%B2",
    "last=",
    "starting_after=x",
    "starting_after=%00",
    "starting_after=%F0%9F%98%80",
    "starting_after=YWZ0ZXI6",  # after:
    "starting_after=YWZ0ZXI6LTE=",  # after:-1
    "starting_after=YWZ0ZXI6MTo=",  # after:1:
    "starting_after=YWZ0ZXI6wrI=",  # after:2 in superscript
    "starting_after=/////w==",
    "starting_after=YWZ0ZXI6" + "OTk5" * 1000,
    "starting_after=YWZ0ZXI6" + "OTk5" * 2000,
    "ruleset_id=",
    "ruleset_id=%00",
    "ruleset_id=%ED%A0%80",
    "ruleset_id=7&ruleset_id=8",
    "message_id=",
    "message_id=wamid.",
    "message_id=wamid.%FF",
    "message_id=wamid.AAAA",
    "message_id=" + "A" * 4000,
    "message_id=%F0%9F%98%80",
    "recipient=%00&last=1",
    "&&==&%",
    "a=%zz",
]
ODD_VALUES: Final[list[object]] = [
    None, True, False, 0, -1, 1.5, 1e308, -1e308, 10**400, "", " ", "\0", "\ud800", "x" * 10_000, "NaN", "9" * 5000,
    [], [[]], [None], [0], ["x"], [{}], {}, {"": ""}, {"id": None}, {"id": []}, {"id": {}}, {"type": []},
    {"type": "user", "id": [1]}, {"type": "user", "id": "\ud800"}, {"phone": 447700900123}, {"phone": "+" + "1" * 99},
]  # fmt: skip

ODD_HEADERS: Final = [
    (b"Content-Type", b"text/plain"),
    (b"Content-Type", b"application/x-www-form-urlencoded"),
    (b"Content-Type", b"multipart/form-data"),
    (b"Content-Type", b"\xff"),
    (b"Content-Encoding", b"gzip"),
    (b"Accept", b"\xff;q=x,,;"),
    (b"Authorization", b"\xff\xfe"),
    (b"Intercom-Version", b"\xff"),
    (b"Intercom-Version", b"9" * 5000),
    (b"Expect", b"100-continue"),
    (b"X-Forwarded-Proto", b"\xff"),
    (b"X-Forwarded-For", b"\xff"),
]

QUERY: Final = {"field": "source.id", "operator": "=", "value": "1"}
VALID_BODIES: Final[dict[str, list[dict[str, Any]]]] = {
    "/messages": [in_app(cc={"type": "user", "id": "b"}, created_at=1), email(), sms(), whatsapp()],
    "/conversations/search": [
        {"query": {"operator": "AND", "value": [QUERY, {"field": "created_at", "operator": ">", "value": 1}]}},
        {"query": QUERY},
    ],
    "/contacts": [
        {"role": "user", "external_id": "7", "email": "a@example.com", "phone": "+1", "custom_attributes": {}}
    ],
    "/contacts/search": [
        {
            "query": {"operator": "OR", "value": [{"field": "email", "operator": "IN", "value": ["a@example.com"]}]},
            "pagination": {"per_page": 1, "starting_after": "YWZ0ZXI6MQ=="},
            "sort": {"field": "created_at", "order": "ascending"},
        },
        {"query": {"field": "created_at", "operator": ">", "value": 1}},
    ],
    "/export/content/data": [{"created_at_after": 1, "created_at_before": 2}],
    "/_sandbox/rulesets": [{"id": "77", "size": 3, "over": 1, "events": [{"status": "read"}]}],
    "/_sandbox/status": [{"whatsapp_message_id": "x", "status": "failed", "error": {"message": "m", "details": "d"}}],
    "/_sandbox/faults": [{"fault": "plan", "requests": 0, "endpoint": "GET /elsewhere"}],
    "/_sandbox/reply": [{"message_id": "403900001", "body": "Yes"}],
}


def test_the_list_of_routes_is_complete() -> None:
    assert {path for method, path in ROUTES if method == "POST"} >= VALID_BODIES.keys()
    without_body = {"/export/cancel/", "/_sandbox/reset", "/nothing"}
    assert {path for method, path in ROUTES if method == "POST"} == VALID_BODIES.keys() | without_body


def refuse_constant(name: str) -> float:
    raise AssertionError(f"the reply holds {name}, which is not JSON")


def check(response: httpx.Response, request: object) -> None:
    """Check that a reply is one that Intercom could have given."""
    assert response.status_code in {200, 400, 401, 403, 404, 405, 406, 409, 410, 422, 429}, (
        request,
        response.status_code,
    )
    if response.request.method == "HEAD" or response.headers["content-type"] == "application/octet-stream":
        return
    body = json.loads(response.content.decode(), parse_constant=refuse_constant)
    if response.status_code == 200:
        assert isinstance(body, dict), request
        return
    assert body["type"] in {"error.list", "error"}, (request, body)
    assert body["request_id"] == response.headers["x-request-id"]
    words = body if body["type"] == "error" else body["errors"][0]
    assert isinstance(words["message"], str), (request, body)
    assert len(response.content) < 2000, request


@pytest.fixture
def api(sandbox: Sandbox, api: httpx.Client) -> Iterator[httpx.Client]:
    """Return a client, and read everything back at the end: what was stored must not break a later request."""
    sandbox.settings.rate_limit = 0
    sandbox.add_ruleset("7", 3)
    api.headers["Intercom-Version"] = "Preview"
    api.timeout = httpx.Timeout(10)
    yield api
    ids = ["7", "77"] + [each["id"] for each in api.get("/_sandbox/rulesets").json()["rulesets"]]
    ids = [each for each in ids if len(each) < 1000]
    for path in ("report", "messages?last=100", "requests?last=20000", "rulesets"):
        check(api.get(f"/_sandbox/{path}"), path)
    for ruleset_id in ids:
        check(api.get("/messages/status", params={"ruleset_id": ruleset_id}), ruleset_id)
    for message in sandbox.messages[:300]:
        check(api.get("/messages/whatsapp/status", params={"message_id": message.whatsapp_message_id or "x"}), "status")
        query = {"field": "source.id", "operator": "=", "value": message.id}
        check(api.post("/conversations/search", json={"query": query}), "conversation")


def url_of(path: str) -> str:
    return f"{path}7" if path.endswith("/") else path


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_an_odd_body_is_answered(api: httpx.Client, method: str, path: str) -> None:
    for name, body in ODD_BODIES.items():
        response = api.request(method, url_of(path), content=body)
        check(response, name)
        if [method, path] in API_ROUTES and path in VALID_BODIES:
            assert response.status_code in {400, 422}, name
            assert response.json()["errors"][0]["code"] in {"parameter_invalid", "parameter_not_found"}, name


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_body_of_another_kind_is_answered(api: httpx.Client, method: str, path: str) -> None:
    valid = json.dumps(VALID_BODIES.get(path, [{}])[0]).encode()
    for name, value in ODD_HEADERS:
        check(api.request(method, url_of(path), content=valid, headers=[(name, value)]), (name, value))
    pieces = (valid[index : index + 1] for index in range(len(valid)))
    check(api.request(method, url_of(path), content=pieces), "in pieces")
    check(api.request(method, url_of(path), content=iter(())), "no piece")


@pytest.mark.parametrize("path", sorted({path for _, path in ROUTES}))
def test_an_odd_method_is_answered(api: httpx.Client, path: str) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"):
        check(api.request(method, url_of(path), json={}), method)
        check(api.request(method, url_of(path), headers={"Accept": "text/html"}), method)
        check(api.request(method, url_of(path), headers={"Connection": "upgrade", "Upgrade": "websocket"}), method)


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[0] == "GET"])
def test_an_odd_query_is_answered(api: httpx.Client, method: str, path: str) -> None:
    for query, prefix in itertools.product(ODD_QUERIES, ("", "ruleset_id=7&", "message_id=x&")):
        check(api.request(method, f"{url_of(path)}?{prefix}{query}"), query)
    check(api.request(method, f"{url_of(path)}?" + "&".join(["ruleset_id=7"] * 5000)), "5,000 parameters")


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[1].endswith("/")])
def test_an_odd_path_is_answered(api: httpx.Client, method: str, path: str) -> None:
    for rest in (
        "%00",
        "%FF",
        "%ED%A0%80",
        "..%2F..",
        "a//b",
        "%F0%9F%98%80",
        "x" * 20_000,
        "soon-" + "9" * 5000 + "-",
        "%zz",
    ):
        check(api.request(method, path + rest), rest)


def changed(body: Any, value: object) -> Iterator[Any]:
    """Replace each part of a body in turn."""
    yield value
    parts = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for name, part in parts:
        for other in changed(part, value):
            copy = dict(body) if isinstance(body, dict) else list(body)
            copy[name] = other
            yield copy


@pytest.mark.parametrize("path", VALID_BODIES)
def test_an_odd_value_in_place_of_each_field_is_answered(sandbox: Sandbox, api: httpx.Client, path: str) -> None:
    for value, valid in itertools.product(ODD_VALUES, VALID_BODIES[path]):
        for body in [*changed(valid, value), {**valid, "unknown": value}]:
            check(api.post(path, content=json.dumps(body).encode()), body)
    for message in sandbox.messages:
        sandbox.reply(message.id)


@pytest.mark.parametrize("subject", ["\ud800", "\0", 'a"b\n,', "😀", "=1+1"])
def test_the_file_of_an_export_holds_odd_texts(sandbox: Sandbox, api: httpx.Client, subject: str) -> None:
    sandbox.settings.speed = 1e9
    wire = email(subject=subject, to={"type": "user", "id": f"ada{subject}"})
    assert api.post("/messages", content=json.dumps(wire).encode()).status_code == 200
    span = {"created_at_after": 0, "created_at_before": 10**11}
    job = api.post("/export/content/data", json=span).json()["job_identifier"]
    reply = api.get(f"/download/content/data/{job}", headers={"Accept": "application/octet-stream"})
    assert reply.status_code == 200
    assert len(reply.content) > 50
