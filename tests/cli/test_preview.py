"""The command `preview`, and `send` for the line of a batch."""

from __future__ import annotations

import json
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from intercom_provider.sandbox import Sandbox

    from .conftest import Ended

    Run = Callable[..., Ended]

DEFAULTS = {"message_type": "email", "subject": "News", "body": "<p>Hello ${first_name}</p>"}
ROWS: list[Any] = [
    {"to": {"type": "user", "user_id": "a"}, "params": {"first_name": "Ada"}},
    {"to": {"type": "user", "user_id": "b"}, "params": {"first_name": "<script>alert(1)</script>"}},
    {"to": {"type": "user", "user_id": "a"}, "params": {"first_name": "Ada"}},
    {"to": {"type": "user", "user_id": "c"}, "params": {}},
    {"user_id": "d"},
    "not JSON",
    {"to": {"type": "user", "user_id": "e"}, "params": {"first_name": "Eve"}},
]


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    messages, defaults = tmp_path / "messages.jsonl", tmp_path / "defaults.json"
    messages.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in ROWS))
    defaults.write_text(json.dumps(DEFAULTS))
    return str(messages), str(defaults)


def test_the_whole_input_is_counted_and_every_invalid_row_is_listed(
    run: Run, sandbox: Sandbox, files: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "left_out.txt").write_text("user:e\n")
    before = len(sandbox.requests)
    ended = run(
        "preview", files[0], "--defaults", files[1], "--suppress", str(tmp_path / "left_out.txt"), "--output", "json"
    )
    told = json.loads(ended.out)
    assert ended.code == 1
    names = ("total", "to_send", "held", "already_sent", "claimed", "suppressed", "duplicates", "invalid")
    assert {name: told[name] for name in names}["total"] == sum(told[name] for name in names[1:]) == 7
    assert [told[name] for name in names[1:]] == [2, 0, 0, 0, 1, 1, 3]
    assert [row["line"] for row in told["invalid_rows"]] == [4, 5, 6]
    assert all(row["reason"] for row in told["invalid_rows"])
    assert {(reason["count"], *reason["first"]) for reason in told["reasons"]} == {(1, 4), (1, 5), (1, 6)}
    shown = told["messages"][0]
    assert (shown["line"], shown["message"]["body"]) == (1, "<p>Hello Ada</p>")
    assert len(sandbox.requests) == before


@pytest.mark.parametrize("output", ["text", "html"])
def test_a_line_is_shown_as_it_goes_out(run: Run, sandbox: Sandbox, files: tuple[str, str], output: str) -> None:
    ended = run("preview", files[0], "--defaults", files[1], "--line", "2", "--output", output)
    assert ended.code == 1
    assert "line 2" in ended.out
    assert "line 1" not in ended.out
    assert re.search(r"params\.first_name is missing\W.*line 4\b", ended.out, re.DOTALL)
    assert ended.err == "3 of 7 rows are invalid\n"
    assert not sandbox.messages
    if output == "html":
        # The body stands in a frame without scripts, and is escaped twice: as an attribute, and as the param's value.
        assert 'sandbox=""' in ended.out
        assert "<script" not in ended.out


def test_equal_reasons_are_told_once_with_every_row(run: Run, sandbox: Sandbox) -> None:
    right = {"to": {"type": "user", "user_id": "a"}, "body": "Hi"}
    rows = [{**right, "to": {"phone": "+44"}}, {**right, "key": "b"}, *({**right, "colour": n} for n in range(4))]
    rows += [right, {**right, "colour": 4}, {**right, "colour": 5}]
    options = ("--defaults", json.dumps(DEFAULTS), "--sample", "0")
    ended = run("preview", json.dumps(rows), *options)
    assert "(6 times)\n  index 2 to 5, 7, 8\n" in ended.out
    assert ended.out.index("(6 times)") < ended.out.index("  index 0\n")
    assert ended.err == "7 of 9 rows are invalid\n"
    told = json.loads(run("preview", json.dumps(rows), *options, "--output", "json").out)
    assert [row["index"] for row in told["invalid_rows"]] == [0, 2, 3, 4, 5, 7, 8]
    assert told["reasons"][0]["first"] == [2, 3, 4]
    assert not sandbox.messages


def test_a_list_of_which_every_row_is_wrong_is_shown_in_full(run: Run, sandbox: Sandbox) -> None:
    rows = [{"phone": f"+4479001234{n:02}", "first_name": "Ada"} for n in range(50)]
    ended = run("preview", json.dumps(rows), "--defaults", json.dumps(DEFAULTS))
    assert ended.code == 1
    assert ended.out.count("is a flat row: put phone into to") == 1
    assert "(50 times)\n  index 0 to 49\n" in ended.out
    assert ended.err == "50 of 50 rows are invalid\n"
    assert not sandbox.messages


def test_what_is_wrong_for_all_messages_is_an_error(run: Run, sandbox: Sandbox, files: tuple[str, str]) -> None:
    ended = run("preview", files[0], "--defaults", json.dumps({**DEFAULTS, "template": "colourful"}))
    assert (ended.code, ended.out) == (1, "")
    assert "defaults.template" in ended.err
    assert not sandbox.messages


def test_a_line_that_would_not_be_sent_says_why(run: Run, sandbox: Sandbox, files: tuple[str, str]) -> None:
    told = json.loads(run("preview", files[0], "--defaults", files[1], "--line", "4", "--output", "json").out)
    assert told["messages"] == [{"line": 4, "message": None, "reason": "params.first_name is missing"}]
    ended = run("preview", files[0], "--defaults", files[1], "--line", "99")
    assert (ended.code, ended.out) == (1, "")
    assert "--line: the input has no line 99" in ended.err
    assert not sandbox.messages


def test_a_sample_is_no_longer_than_asked_for(run: Run, sandbox: Sandbox) -> None:
    rows = [{"to": {"type": "user", "user_id": f"{n}"}} for n in range(20)]
    ended = run("preview", json.dumps(rows), "--defaults", json.dumps({**DEFAULTS, "body": "Hi"}), "--sample", "3")
    assert ended.code == 0
    assert ended.out.count('"message_type"') == 3
    assert not sandbox.messages


def test_a_template_shows_its_parameters_in_their_order(run: Run, sandbox: Sandbox) -> None:
    parameters = [{"type": "text", "text": "${first_name}"}, {"type": "text", "text": "<b>5</b>"}]
    defaults = {
        "message_type": "whatsapp",
        "template": "hello",
        "components": [{"type": "body", "parameters": parameters}],
    }
    rows = [{"to": {"phone": "+447900123456"}, "params": {"first_name": "Ada"}}]
    page = run("preview", json.dumps(rows), "--defaults", json.dumps(defaults), "--output", "html").out
    assert page.index("<li>Ada</li>") < page.index("<li>&lt;b&gt;5&lt;/b&gt;</li>")
    assert not sandbox.messages


def test_a_campaign_without_a_ledger_yet_is_read_and_nothing_is_written(
    run: Run, sandbox: Sandbox, files: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    sqlite3.connect(path).close()
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    arguments = ("--campaign", "news/1", "--ledger-conn-id", "ledger", "--output", "json")
    told = json.loads(run("preview", files[0], "--defaults", files[1], *arguments).out)
    assert (told["already_sent"], told["to_send"]) == (0, 3)
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == []
    database.close()
    assert (
        run(
            "ledger", "mark", "news/1", json.dumps(ROWS[:1]), "--defaults", files[1], "--conn-id", "ledger", "--yes"
        ).code
        == 0
    )
    told = json.loads(run("preview", files[0], "--defaults", files[1], *arguments).out)
    assert (told["already_sent"], told["to_send"]) == (1, 2)
    for repeat_after, already_sent in (("1h", 1), ("7d", 1), ("1m", 0)):
        with sqlite3.connect(path) as database:
            database.execute("UPDATE intercom_messages SET finished_at = datetime('now', '-2 minutes')")
        database.close()
        told = json.loads(
            run("preview", files[0], "--defaults", files[1], *arguments, "--repeat-after", repeat_after).out
        )
        assert (told["already_sent"], told["to_send"]) == (already_sent, 3 - already_sent)
    assert not sandbox.messages


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--repeat-after", "7d"), "--repeat-after: needs --campaign"),
        (("--campaign", "a", "--repeat-after", "soon"), "--repeat-after: must be a timedelta above 0, or text such as"),
        (("--campaign", "a", "--repeat-after", "7d", "--timezone", "No/Where"), "--timezone: must be the name"),
    ],
)
def test_a_time_that_cannot_be_read_is_an_error(
    run: Run, sandbox: Sandbox, files: tuple[str, str], arguments: tuple[str, ...], words: str
) -> None:
    ended = run("preview", files[0], "--defaults", files[1], *arguments)
    assert (ended.code, ended.out) == (1, "")
    assert words in ended.err
    assert not sandbox.messages


def in_zones(*zones: str | None) -> str:
    return json.dumps([{"to": {"type": "user", "user_id": f"{n}"}, "timezone": zone} for n, zone in enumerate(zones)])


def test_what_waits_for_its_window_is_counted_by_when_it_opens(run: Run, sandbox: Sandbox) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    opens, closes = now + timedelta(hours=2), now + timedelta(hours=4)
    # It is three hours later there, and two and four hours earlier; these names have the sign of POSIX.
    zones = ["Etc/GMT-3", "Etc/GMT+2", None, "UTC", "Etc/GMT+4", "Etc/GMT+2", "Etc/UTC", "Nowhere/City", "Etc/GMT-3"]
    defaults = json.dumps({**DEFAULTS, "body": "Hi"})
    window = ("--send-window", f"{opens:%H:%M}-{closes:%H:%M}", "--timezone", "UTC")
    arguments = ("preview", in_zones(*zones), "--defaults", defaults, *window, "--sample", "2")
    told = json.loads(run(*arguments, "--output", "json").out)
    assert [told[name] for name in ("total", "to_send", "held", "invalid")] == [9, 2, 6, 1]
    assert told["held_until"] == [
        {"at": opens.isoformat(), "count": 3, "timezones": {"UTC": 2, "Etc/UTC": 1}},
        {"at": (opens + timedelta(hours=2)).isoformat(), "count": 2, "timezones": {"Etc/GMT+2": 2}},
        {"at": (opens + timedelta(hours=4)).isoformat(), "count": 1, "timezones": {"Etc/GMT+4": 1}},
    ]
    assert [row["index"] for row in told["invalid_rows"]] == [7]
    assert "must be the name of a time zone" in told["invalid_rows"][0]["reason"]
    until = f"{opens + timedelta(hours=2):%Y-%m-%d %H:%M} UTC"
    assert [each["reason"] for each in told["messages"]] == [None, f"held until {until}"]
    text = run(*arguments).out
    assert "         2  now\n" in text
    assert f"         3  from {opens:%Y-%m-%d %H:%M} UTC on (UTC, Etc/UTC)\n" in text
    assert f"         2  from {until} on (Etc/GMT+2)\n" in text
    page = run(*arguments, "--output", "html").out
    assert f"<tr><td>2</td><td>from {until} on</td>\n<td>Etc/GMT+2</td></tr>" in page
    assert not sandbox.messages


def test_with_a_window_a_message_needs_a_time_zone(run: Run, sandbox: Sandbox) -> None:
    arguments = ("preview", in_zones("Europe/Dublin", None), "--defaults", json.dumps({**DEFAULTS, "body": "Hi"}))
    told = json.loads(run(*arguments, "--send-window", "00:00-23:59", "--output", "json").out)
    assert (told["total"], told["invalid"]) == (2, 1)
    assert told["reasons"][0]["reason"].startswith("timezone: is needed with send_window")
    assert not sandbox.messages


@pytest.mark.parametrize(
    ("window", "zone", "words"),
    [
        ("09:00", "UTC", "--send-window: must be two different local times, such as 09:00-20:00"),
        ("9-20", "UTC", "--send-window: must be two"),
        ("09:00-09:00", "UTC", "--send-window: must be two"),
        ("09:00-20:00-21:00", "UTC", "--send-window: must be two"),
        ("", "UTC", "--send-window: must be two"),
        ("09:00-20:00", "Nowhere/City", "--timezone: must be the name of a time zone"),
    ],
)
def test_a_window_that_cannot_be_read_is_an_error(
    run: Run, sandbox: Sandbox, files: tuple[str, str], window: str, zone: str, words: str
) -> None:
    ended = run("preview", files[0], "--defaults", files[1], "--send-window", window, "--timezone", zone)
    assert (ended.code, ended.out) == (1, "")
    assert words in ended.err
    assert not sandbox.messages


def test_a_line_goes_to_yourself_alone(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    row = {**ROWS[0], "cc": {"type": "user", "user_id": "boss"}}
    defaults = {**DEFAULTS, "bcc": {"type": "user", "user_id": "archive"}}
    path = tmp_path / "m.jsonl"
    path.write_text(f"{json.dumps(ROWS[6])}\n\n{json.dumps(row)}\n")
    send = ("send", "--messages", str(path), "--line", "3", "--defaults", json.dumps(defaults), "--to", "user:me")
    assert run(*send, stdin="n\n").code == 1
    assert not sandbox.messages
    ended = run(*send, stdin="y\n")
    assert ended.code == 0
    assert "email message to user:me" in ended.err
    [message] = sandbox.messages
    assert message.wire["to"] == {"type": "user", "id": "me"}
    assert message.wire["body"] == "<p>Hello Ada</p>"
    assert not {"cc", "bcc"} & message.wire.keys()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--line", "6"), "is not a JSON object"),
        (("--line", "4"), "params.first_name is missing"),
        (("--line", "99"), "99 of the messages is missing"),
        ((), "--line: is missing"),
    ],
)
def test_a_line_that_cannot_be_sent_says_why(
    run: Run, sandbox: Sandbox, files: tuple[str, str], arguments: tuple[str, ...], words: str
) -> None:
    ended = run("send", "--messages", files[0], "--defaults", files[1], "--to", "user:me", "--yes", *arguments)
    assert ended.code == 1
    assert words in ended.err
    assert not sandbox.messages


def test_a_message_without_its_type_is_an_error(run: Run, sandbox: Sandbox) -> None:
    ended = run("send", "--to", "user:me", "--body", "Hi", "--yes")
    assert ended.code == 1
    assert "--type: is missing" in ended.err
    assert not sandbox.messages
