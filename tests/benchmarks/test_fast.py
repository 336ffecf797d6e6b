from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from benchmarks import fast
from tests.support.tls import write_certificate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("secure", [False, True])
def test_it_creates_a_message_for_each_request(tmp_path: Path, secure: bool) -> None:
    certificate = write_certificate(tmp_path / "https.pem") if secure else None
    context = ssl.create_default_context(cafile=certificate)
    with fast.serve(0.01, certificate) as (url, created), httpx.Client(base_url=url, verify=context) as client:
        ids = {client.post("/messages", json={"body": "x" * size}).json()["id"] for size in (1, 100, 1_000_000)}
        assert ids == {"1", "2", "3"}
        assert created() == 3


def test_it_waits_for_the_whole_of_a_request() -> None:
    with fast.serve(0.0) as (url, created):
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as connection:
            connection.sendall(b"POST /messages HTTP/1.1\r\nContent-Length: 2\r\n\r\n{")
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            assert created() == 0
            connection.settimeout(30)
            connection.sendall(b"}")
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
        assert created() == 1
