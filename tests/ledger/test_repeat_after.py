"""When a message of a campaign may go out once more."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.ledger.repeat_after import RepeatAfter, read_repeat_after

DUBLIN = ZoneInfo("Europe/Dublin")


@pytest.mark.parametrize("timezone", ["Europe/Dublin", "America/New_York", "Australia/Lord_Howe", None])
def test_a_weekly_run_that_starts_early_and_late_sends_every_week_of_a_year(timezone: str | None) -> None:
    repeat = read_repeat_after("7d", timezone)
    assert repeat
    zone = ZoneInfo(timezone) if timezone else UTC
    jitter = random.Random(7)  # noqa: S311 - no secret
    sent: list[datetime] = []
    for week in range(52):
        # Nine o'clock on the wall, through both changes of the clock, a minute early or late.
        day = datetime(2026, 1, 5, 9, tzinfo=zone) + timedelta(weeks=week)
        now = day.astimezone(UTC) + timedelta(seconds=jitter.uniform(-60, 60))
        if not sent or repeat.allows(sent[-1], now):
            sent.append(now)
    assert len(sent) == 52


def test_whole_days_count_from_the_day_of_the_send_in_the_time_zone() -> None:
    repeat = RepeatAfter(timedelta(days=1), DUBLIN)
    # 23:30 UTC is half past midnight of the next day in Dublin's summer.
    sent = datetime(2026, 7, 1, 22, 30, tzinfo=UTC)
    assert not repeat.allows(sent, datetime(2026, 7, 1, 22, 59, tzinfo=UTC))
    assert repeat.allows(sent, datetime(2026, 7, 1, 23, 1, tzinfo=UTC))
    assert not RepeatAfter(timedelta(days=1)).allows(sent, datetime(2026, 7, 1, 23, 1, tzinfo=UTC))


def test_hours_count_exactly() -> None:
    repeat = read_repeat_after("12h")
    sent = datetime(2026, 7, 1, 9, tzinfo=UTC)
    assert repeat
    assert not repeat.allows(sent, sent + timedelta(hours=12, seconds=-1))
    assert repeat.allows(sent, sent + timedelta(hours=12))


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("7d", timedelta(days=7)),
        (" 7 D ", timedelta(days=7)),
        ("90m", timedelta(minutes=90)),
        (timedelta(days=30), timedelta(days=30)),
    ],
)
def test_a_time_is_read_as_it_is_written(value: object, time: timedelta) -> None:
    assert read_repeat_after(value) == RepeatAfter(time)


@pytest.mark.parametrize("value", [None, "", "None"])
def test_without_a_time_a_message_is_never_repeated(value: object) -> None:
    assert read_repeat_after(value) is None


@pytest.mark.parametrize("value", ["7", "0d", "-1d", "7 weeks", 7, True, timedelta(0), timedelta(days=-1), "1.5h"])
def test_what_is_not_a_time_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidInputError, match="repeat_after: must be a timedelta"):
        read_repeat_after(value)


@pytest.mark.parametrize("value", ["Dublin", "GMT+25", "../etc/passwd", "Europe/", 5])
def test_an_unknown_time_zone_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidInputError, match="timezone: must be the name of a time zone"):
        read_repeat_after("7d", value)
