"""The page that `airflow intercom preview --output html` writes."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from intercom_provider.__main__ import main
from tests.browser.people import NAME

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.chromium import Browser

PHONE: Final = "+447900123456"
OFFER: Final = (
    "<h2>Your autumn offer</h2><p>Dear ${first_name},</p><p>ten per cent off <b>all boots</b> until Sunday. "
    "The code is <b>AUTUMN</b>.</p><p><a href='https://shop.example/boots'>To the boots</a></p>"
)
COMPONENTS: Final = [
    {"type": "header", "parameters": [{"type": "image", "image": {"link": "https://shop.example/boots.png"}}]},
    {"type": "body", "parameters": [{"type": "text", "text": "${first_name}"}, {"type": "text", "text": "10 %"}]},
    {"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": "boots"}]},
]
ADA: Final = {"type": "user", "user_id": "ada"}
AUTUMN: Final = {"message_type": "whatsapp", "template": "autumn", "locale": "en", "components": COMPONENTS}
MAIL: Final = {"message_type": "email", "subject": "Autumn for ${first_name}", "body": OFFER}
CAMPAIGN: Final[list[Any]] = [
    {**AUTUMN, "to": {"phone": PHONE, "name": NAME}},
    {**MAIL, "to": ADA, "timezone": "America/New_York"},
    {"message_type": "in_app", "to": ADA, "body": "<p>Hello ${first_name}, <b>all boots</b> are ten per cent off.</p>"},
    {"message_type": "sms", "to": ADA, "body": "Boots < 100 & more\nThe code is AUTUMN", "timezone": "Asia/Tokyo"},
    {**MAIL, "to": ADA},
    {**MAIL, "to": {"type": "user", "user_id": "eve"}},
    *({**AUTUMN, "to": {"phone": f"{PHONE[1:-1]}{last}"}} for last in range(3)),
    {**MAIL, "to": {"type": "user", "user_id": "bob"}, "subject": "For ${city}"},
    "Carol, +447900123457",
]
# Each part would change the title or leave the page.
HOSTILE: Final = (
    "<script>top.document.title = 'run'; document.title = 'run'</script>"
    "<img src=x onerror=\"top.document.title = 'run'\">"
    "<meta http-equiv='refresh' content='0; url=about:blank'>"
    "<form action='/' target='_top'><button>Leave</button></form>"
)
ATTACKS: Final[list[Any]] = [
    {**AUTUMN, "to": {"phone": PHONE, "name": HOSTILE}, "components": [
        {"type": "body", "parameters": [{"type": "text", "text": HOSTILE}]}]},
    {"message_type": "email", "to": ADA, "subject": HOSTILE, "body": f"<p>Hello ${{first_name}}</p>{HOSTILE}",
     "params": {"first_name": HOSTILE}},
    {"message_type": "in_app", "to": ADA, "body": f"<p>Hello {NAME}</p>{HOSTILE}"},
    {"message_type": "sms", "to": ADA, "body": HOSTILE},
    {**MAIL, "to": ADA, "key": "5", "subject": "${<img src=x onerror=alert(1)>}"},
]  # fmt: skip


def write_page(folder: Path, rows: list[Any]) -> str:
    """Write the preview of a batch, and return its address."""
    (folder / "rows.jsonl").write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    (folder / "left_out").write_text("user:eve\n")
    extra = {"api_version": "Preview", "admin_id": 1}
    connection = {"conn_type": "intercom", "password": "token-of-nobody", "extra": extra}
    files = [str(folder / "rows.jsonl"), "--suppress", str(folder / "left_out")]
    # Open now in London, whatever the time is, and closed in New York and Tokyo.
    opens, closes = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-3, 3))
    window = ["--send-window", f"{opens:%H:%M}-{closes:%H:%M}", "--timezone", "Europe/London"]
    options = ["--defaults", json.dumps({"params": {"first_name": NAME}}), "--conn-id", "intercom_shop"]
    page = folder / "preview.html"
    with pytest.MonkeyPatch.context() as patch, page.open("w") as out:
        patch.setenv("AIRFLOW_CONN_INTERCOM_SHOP", json.dumps(connection))
        patch.setenv("_AIRFLOW_PROCESS_CONTEXT", "")
        patch.setattr("sys.stdout", out)
        assert main(["preview", *files, *options, *window, "--output", "html"]) == 1
    return page.as_uri()


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write the page of a list with messages of all types and rows that are wrong."""
    return write_page(tmp_path_factory.mktemp("campaign"), CAMPAIGN)


def test_a_mixed_list_is_shown_as_it_would_arrive(page: Browser, campaign: str) -> None:
    page.open(campaign)
    text = page.read("Nothing has been sent. It would take less than a second, the wait for windows aside")
    for words in ("total\n11", "to send\n2", "held\n2", "suppressed\n1", "duplicates\n1", "invalid\n5"):
        assert words in text
    assert re.search(r"2\s+now\s+1\s+from .* UTC on\s+America/New_York\s+1\s+from .* UTC on\s+Asia/Tokyo", text)
    assert len(re.findall("^held until .* UTC$", text, re.MULTILINE)) == 2
    assert "to.phone: must be in E.164" in text
    assert "3 times: line 7 to 9" in text
    assert "params.city is missing\nline 10" in text
    assert f"whatsapp\nto {NAME} {PHONE}\ntemplate autumn" in text
    order = [text.index(words) for words in ("header\n", "boots.png", "body\n", "10 %\n", "button url 0\n", "boots\n")]
    assert order == sorted(order)
    assert f"Autumn for {NAME}" in text
    assert "Boots < 100 & more\nThe code is AUTUMN" in text
    with page.inside(page.all("//iframe")[0]):
        page.read("Your autumn offer", f"Dear {NAME}", "The code is AUTUMN.")
    page.resize(1720)
    page.picture("preview-page")


def test_a_request_can_be_unfolded(page: Browser, campaign: str) -> None:
    page.open(campaign)
    assert '"message_type": "whatsapp"' not in page.read("The request")
    page.click("(//summary)[1]")
    page.read('"message_type": "whatsapp"', '"template": "autumn"')


def test_the_page_is_readable_in_the_dark(page: Browser, campaign: str) -> None:
    with page.dark():
        page.open(campaign)
        page.read("Nothing has been sent")
        assert page.see("//h1").value_of_css_property("color") == "rgba(255, 255, 255, 1)"
        # An email is written for white paper.
        assert page.all("//iframe")[0].value_of_css_property("background-color") == "rgba(255, 255, 255, 1)"
        with page.inside(page.all("//iframe")[0]):
            assert page.see("//p").value_of_css_property("color") == "rgba(0, 0, 0, 1)"


def test_nothing_of_a_message_can_run(page: Browser, tmp_path: Path) -> None:
    page.open(write_page(tmp_path, ATTACKS))
    text = page.read("Nothing has been sent", "params.<img src=x onerror=alert(1)> is missing")
    # In a name, a parameter, a subject and an SMS it is text.
    assert text.count(HOSTILE) == 4
    assert page.all("//img") == []
    frames = page.all("//iframe")
    assert len(frames) == 2
    for frame in frames:
        with page.inside(frame):
            page.click("//button")
    for frame in frames:
        with page.inside(frame):
            page.read("Hello", "Leave")
    assert page.title == "Preview"
    page.read("Nothing has been sent")
