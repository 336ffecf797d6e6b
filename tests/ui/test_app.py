"""The files of the page, over a socket, mounted as Airflow mounts them."""

from __future__ import annotations

import re
import socket
import threading
from typing import TYPE_CHECKING

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from intercom_provider.ui.app import FILES, page_app
from tests.support.eventually import until
from tests.support.project import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

STATIC = PROJECT / "intercom_provider" / "ui" / "static"


@pytest.fixture(scope="module", params=["", "/shop/airflow"], ids=["at-the-root", "behind-a-prefix"])
def api(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    app = Starlette(routes=[Mount(f"{request.param}/intercom", app=page_app)])
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        until(lambda: server.started, "the server", within=30)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}{request.param}/intercom/"
        try:
            with httpx.Client(base_url=url, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.parametrize("path", FILES)
def test_a_file_is_served_with_its_type_and_a_policy(api: httpx.Client, path: str) -> None:
    reply = api.get(path)
    name, kind = FILES[path]
    assert reply.status_code == 200
    assert reply.content == (STATIC / name).read_bytes()
    assert reply.headers["content-type"] == kind
    assert reply.headers["x-content-type-options"] == "nosniff"
    # Airflow's own frame may hold the page, nobody else's.
    assert reply.headers["x-frame-options"] == "SAMEORIGIN"
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_every_static_file_is_served_and_no_other() -> None:
    assert {name for name, _ in FILES.values()} == {path.name for path in STATIC.iterdir()}


@pytest.mark.parametrize(
    "path", ["app.py", "static/page.js", "../app.py", "%2e%2e/app.py", "..%2f..%2fetc/passwd", "page.js/", "//page.js"]
)
def test_no_other_path_names_a_file(api: httpx.Client, path: str) -> None:
    # httpx would resolve the dots itself.
    with socket.create_connection((api.base_url.host, api.base_url.port or 80)) as raw:
        target = f"{api.base_url.path}{path}"
        raw.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        reply = b"".join(iter(lambda: raw.recv(65536), b""))
    assert b" 404 " in reply.splitlines()[0]
    assert b"def page_app" not in reply
    assert b"root:" not in reply


def test_a_head_has_no_body_and_a_post_is_refused(api: httpx.Client) -> None:
    head = api.head("page.js")
    assert head.status_code == 200
    assert head.content == b""
    assert int(head.headers["content-length"]) == (STATIC / "page.js").stat().st_size
    assert api.post("page.js").status_code == 405


def test_the_page_never_turns_text_into_html_and_loads_nothing_of_others() -> None:
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|srcdoc", text), path.name
        assert not re.search(r"(src|href)=\"(https?:)?//", text), path.name
    # A policy without unsafe-inline would block these.
    assert not re.search(r"<script>|<style|style=| on\w+=", (STATIC / "page.html").read_text(encoding="utf-8"))
