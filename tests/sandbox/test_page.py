from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from .wire import email, whatsapp

if TYPE_CHECKING:
    import httpx

    from intercom_provider.sandbox import Sandbox

FILES = {"/": "text/html", "/_sandbox/page.js": "text/javascript", "/_sandbox/page.css": "text/css"}


@pytest.mark.parametrize(("path", "media_type"), FILES.items())
def test_the_page_runs_its_own_script_only(api: httpx.Client, path: str, media_type: str) -> None:
    response = api.get(path, headers={"Authorization": "", "Accept": "text/html"})
    assert (response.status_code, response.headers["Content-Type"]) == (200, f"{media_type}; charset=utf-8")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "http:" not in response.text
    assert "https:" not in response.text


def test_the_page_names_files_that_are_there(api: httpx.Client) -> None:
    assert {*re.findall(r'(?:src|href)="([^"]+)"', api.get("/").text), "/"} == set(FILES)


def test_the_script_writes_text_only(api: httpx.Client) -> None:
    script = api.get("/_sandbox/page.js").text
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|setAttribute|\.(src|href) =", script
    )


def test_the_page_is_only_for_its_own_host(api: httpx.Client) -> None:
    assert api.get("/", headers={"Host": "example.com"}).status_code == 403
    assert api.get("/", headers={"Origin": "https://example.com"}).status_code == 403


def test_the_page_takes_nothing_from_the_limit(sandbox: Sandbox, api: httpx.Client) -> None:
    api.get("/")
    assert sandbox.requests == []


def test_the_messages_of_the_page_are_listed_with_text_and_replies(sandbox: Sandbox, api: httpx.Client) -> None:
    first = api.post("/messages", json=email(body="<p>Hello</p>")).json()["id"]
    api.post("/messages", json=whatsapp())
    sandbox.reply(first, "<b>Yes</b>")
    mail, other = api.get("/_sandbox/messages").json()["messages"]
    assert (mail["text"], mail["replies"]) == (["<p>Hello</p>"], ["<b>Yes</b>"])
    assert (other["text"], other["replies"]) == (["BODY: A-17"], [])
