"""The bar of `status --wait` in a terminal."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest

from intercom_provider.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from intercom_provider.sandbox import Sandbox

    from .conftest import Ended

    Run = Callable[..., Ended]

HALF = [{"whatsapp_message_id": f"wamid.{n}=", "status": "delivered" if n % 2 else "sent"} for n in range(10)]


def test_status_shows_a_bar_in_a_terminal(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    sandbox.settings.speed = 10_000
    sandbox.add_ruleset("4711", 7)
    ended = run("status", "--ruleset-id", "4711", "--wait", "--expected-count", "7")
    assert ended.code == 0
    assert "WhatsApp ruleset 4711" in ended.err
    assert "100 %" in ended.err

    terminal = io.StringIO()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr("sys.stderr", terminal)
    assert main(["status", "--ruleset-id", "4711"]) == 0
    bar, _, result = terminal.getvalue().partition("7 messages: ")
    assert bar.rstrip("\x1b[?25h").endswith("\n")
    assert "\x1b" not in result


@pytest.mark.parametrize("columns", [120, 80, 60, 40])
@pytest.mark.parametrize("no_color", ["", "1"])
def test_the_bar_and_the_reason_are_drawn_at_any_width_and_without_colour(
    run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, columns: int, no_color: str
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("COLUMNS", str(columns))
    sandbox.add_ruleset("4711", events=HALF)
    options = ("--ruleset-id", "4711", "--wait", "--expected-count", "12", "--poll", "1", "--timeout", "0.1")
    ended = run("status", *options)
    assert ended.code == 1
    assert ("\x1b[32m" in ended.err) is not bool(no_color)
    lines = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", ended.err).replace("\r", "\n").splitlines()
    (bar,) = {line.rpartition(" % ")[0] for line in lines if "█" in line}
    assert bar.startswith("WhatsApp ruleset 4711"[: columns // 3])
    assert bar.endswith(" 41")
    done, left = bar.count("█"), bar.count("░")
    assert done + left >= 10
    assert done == int((done + left) * 5 / 12)
    assert all(len(line) <= columns for line in lines)
    assert "5 of 12 settled (5 delivered, 0 read, 0 failed), 5 still pending" in " ".join(map(str.strip, lines))


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    sandbox.settings.speed = 10_000
    sandbox.add_ruleset("4711", 7)
    ended = run("status", "--ruleset-id", "4711", "--wait", "--expected-count", "7")
    assert ended.code == 0
    assert "\x1b" not in ended.err
    assert "WhatsApp ruleset 4711: 7 of 7 settled" in ended.err
