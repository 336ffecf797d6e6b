"""The sandbox answers for its own names only, and no page of another site can use it."""

from __future__ import annotations

import json
import socket
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest

from intercom_provider.sandbox import Sandbox
from tests.support.tls import write_certificate

from .wire import in_app

if TYPE_CHECKING:
    from pathlib import Path

RESET = "/_sandbox/reset"
# A page may send each of these to any address, without asking: no-cors, a form, a beacon.
PAGE_TYPES = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")


def port_of(sandbox: Sandbox) -> int:
    return int(sandbox.url.rpartition(":")[2])


def refusal_of(response: httpx.Response) -> str:
    body = response.json()
    assert (response.status_code, body["type"], body["errors"][0]["code"]) == (403, "error.list", "forbidden")
    assert not [name for name in response.headers if name.startswith("access-control")]
    message: str = body["errors"][0]["message"]
    return message


FOREIGN_ORIGINS = [
    "https://evil.example",
    "http://evil.example:{port}",
    "null",
    "",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "https://127.0.0.1:{port}",
    "http://127.0.0.1:{port}.evil.example",
    "http://127.0.0.1:{port}@evil.example",
    "http://localhost.evil.example:{port}",
    "chrome-extension://abcdefghijklmnop",
    "file://",
    "http://ä.example",
]


@pytest.mark.parametrize("content_type", PAGE_TYPES)
@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_a_page_of_another_site_cannot_use_the_control_api(
    sandbox: Sandbox, api: httpx.Client, origin: str, content_type: str
) -> None:
    api.post("/messages", json=in_app()).raise_for_status()
    headers = [
        (b"Origin", origin.format(port=port_of(sandbox)).encode()),
        (b"Content-Type", content_type.encode()),
    ]
    assert "page" in refusal_of(httpx.post(f"{sandbox.url}{RESET}", headers=headers))
    assert len(sandbox.messages) == 1


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
@pytest.mark.parametrize("path", ["/me", "/messages", "/_sandbox/report", "/nothing", "/"])
def test_a_page_of_another_site_is_refused_everywhere(
    sandbox: Sandbox, api: httpx.Client, method: str, path: str
) -> None:
    response = api.request(method, path, headers={"Origin": "https://evil.example"}, json=in_app())
    assert "https://evil.example" in refusal_of(response)
    assert (sandbox.messages, sandbox.requests) == ([], [])
    assert "x-ratelimit-limit" not in response.headers


def test_one_foreign_origin_among_two_is_refused(sandbox: Sandbox) -> None:
    headers = [("Origin", sandbox.url), ("Origin", "https://evil.example")]
    refusal_of(httpx.post(f"{sandbox.url}{RESET}", headers=headers))


def test_a_page_of_the_sandbox_itself_may_use_it(sandbox: Sandbox, api: httpx.Client) -> None:
    assert api.post("/messages", json=in_app(), headers={"Origin": sandbox.url}).status_code == 200
    assert httpx.post(f"{sandbox.url}{RESET}", headers={"Origin": sandbox.url}).status_code == 200
    named = {"Host": f"localhost:{port_of(sandbox)}", "Origin": f"http://localhost:{port_of(sandbox)}"}
    assert httpx.post(f"{sandbox.url}{RESET}", headers=named).status_code == 200
    assert httpx.post(f"{sandbox.url}{RESET}").status_code == 200


FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:{port}",
    "localhost.evil.example:{port}",
    "127.0.0.1.evil.example",
    "127.0.0.1:{port}.evil.example",
    "localhost@evil.example",
    "evil.example#localhost",
    "10.0.0.1:{port}",
    "[2001:db8::1]:{port}",
    "[::1",
    "localhost:port",
    "api.intercom.io",
    "",
]


@pytest.mark.parametrize("path", ["/me", "/_sandbox/report"])
@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_request_for_another_host_is_refused(sandbox: Sandbox, api: httpx.Client, host: str, path: str) -> None:
    """A page whose name was pointed at 127.0.0.1 (DNS rebinding) sends its own name as Host."""
    host = host.format(port=port_of(sandbox))
    message = refusal_of(api.get(path, headers={"Host": host}))
    assert "--allow-host" in message
    assert host in message
    assert sandbox.requests == []


def test_a_rebound_page_is_refused_though_its_origin_equals_its_host(sandbox: Sandbox) -> None:
    name = f"evil.example:{port_of(sandbox)}"
    refusal_of(httpx.post(f"{sandbox.url}{RESET}", headers={"Host": name, "Origin": f"http://{name}"}))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:{port}",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1:{port}",
        "127.9.9.9:1",
        "[::1]",
        "[::1]:{port}",
        "[0:0:0:0:0:0:0:1]:{port}",
    ],
)
def test_a_request_for_this_machine_is_answered(sandbox: Sandbox, api: httpx.Client, host: str) -> None:
    assert api.get("/me", headers={"Host": host.format(port=port_of(sandbox))}).status_code == 200


@pytest.mark.parametrize(
    "head",
    [
        b"POST /_sandbox/reset HTTP/1.0\r\n",
        b"POST /_sandbox/reset HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n",
    ],
    ids=["no host", "two hosts"],
)
def test_a_request_without_exactly_one_host_is_refused(sandbox: Sandbox, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port_of(sandbox)), timeout=5) as connection:
        connection.sendall(head + b"Content-Length: 0\r\n\r\n")
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
    status, body = reply.partition(b"\r\n")[0].split()[1], reply.partition(b"\r\n\r\n")[2]
    assert (status, json.loads(body)["errors"][0]["code"]) == (b"403", "forbidden")


@pytest.mark.parametrize(
    ("address", "allowed", "answered", "refused"),
    [
        ("0.0.0.0", (), ("0.0.0.0", "127.0.0.1", "localhost"), ("sandbox", "10.0.0.7")),  # noqa: S104
        ("0.0.0.0", ("sandbox", "10.0.0.7"), ("sandbox", "SANDBOX:80", "10.0.0.7:99", "localhost"), ("sandbox2",)),  # noqa: S104
        ("127.0.0.1", ("sandbox.internal.",), ("sandbox.internal", "127.0.0.1"), ("internal", "x.sandbox.internal")),
        ("127.0.0.1", ("2001:DB8::7",), ("[2001:db8::7]:8765",), ("[2001:db8::8]",)),
        ("127.0.0.1", ("[2001:db8:0::7]",), ("[2001:db8::7]",), ("2001:db8::7",)),
    ],
)
def test_more_hosts_are_answered_when_allowed(
    address: str, allowed: tuple[str, ...], answered: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    with Sandbox(address, allow_hosts=allowed) as sandbox:
        url = f"http://127.0.0.1:{port_of(sandbox)}/_sandbox/report"
        for host in answered:
            assert httpx.get(url, headers={"Host": host}).status_code == 200, host
        for host in refused:
            refusal_of(httpx.get(url, headers={"Host": host}))
        assert httpx.get(f"{sandbox.url}/_sandbox/report").status_code == 200


def test_a_page_of_an_allowed_host_may_use_the_sandbox() -> None:
    with Sandbox(allow_hosts=["sandbox"]) as sandbox:
        headers = {"Host": "sandbox:8765", "Origin": "http://sandbox:8765"}
        assert httpx.post(f"{sandbox.url}{RESET}", headers=headers).status_code == 200
        refusal_of(httpx.post(f"{sandbox.url}{RESET}", headers={**headers, "Origin": "http://other:8765"}))


@pytest.mark.parametrize("host", ["http://sandbox", "sandbox:8765", "a b", "", "*", "user@sandbox", "[::1]:8765"])
def test_an_allowed_host_is_a_name_or_an_address(host: str) -> None:
    with pytest.raises(ValueError, match="without scheme and port"):
        Sandbox(allow_hosts=[host])


def test_over_https_the_own_origin_is_https(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path / "https.pem")
    with (
        Sandbox(certificate=str(certificate)) as sandbox,
        httpx.Client(base_url=sandbox.url, verify=ssl.create_default_context(cafile=certificate)) as client,
    ):
        assert client.get("/_sandbox/report").status_code == 200
        assert client.post(RESET, headers={"Origin": sandbox.url}).status_code == 200
        refusal_of(client.post(RESET, headers={"Origin": sandbox.url.replace("https", "http")}))
        refusal_of(client.post(RESET, headers={"Host": "evil.example"}))
