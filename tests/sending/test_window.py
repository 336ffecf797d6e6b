"""The local times between which messages go out, in all zones and on the nights of the clock change."""

from __future__ import annotations

import random
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.sending.window import SendWindow, read_window

STEP = timedelta(minutes=15)

ZONES = sorted(available_timezones() - {"localtime", "Factory"})


def window(opens: str, closes: str, zone: str = "Europe/Berlin") -> SendWindow:
    found = read_window((opens, closes), zone)
    assert found
    return found


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def jumps(zone: str) -> list[datetime]:
    """Return the hours of 2026 before which the clock of a zone has jumped."""
    local = ZoneInfo(zone)
    hours = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(0, 24 * 365, 24)]
    offsets = [hour.astimezone(local).utcoffset() for hour in hours]
    return [hours[n] for n in range(1, len(hours)) if offsets[n] != offsets[n - 1]]


@pytest.mark.parametrize("part", range(4))
def test_in_every_zone_and_around_each_clock_change_it_opens_at_the_first_open_moment(part: int) -> None:
    chance = random.Random(part)  # noqa: S311
    for zone in ZONES[part::4]:
        for around in jumps(zone) or [datetime(2026, 6, 1, tzinfo=UTC)]:
            start = around - timedelta(hours=30) + STEP * chance.randrange(100)
            quarters = chance.sample(range(96), 2)
            opens, closes = (time(quarter // 4, quarter % 4 * 15) for quarter in quarters)
            found = SendWindow(opens, closes, ZoneInfo(zone))
            expected = next(each for each in (start + n * STEP for n in range(24 * 4 * 3)) if found.is_open(each))
            assert found.opens_at(start) == expected, (zone, start, opens, closes)


@pytest.mark.parametrize(
    ("opens", "closes", "moment", "opening"),
    [
        ("09:00", "20:00", "2026-06-01T08:00", "2026-06-01T08:00"),
        ("09:00", "20:00", "2026-06-01T06:59:59", "2026-06-01T07:00"),
        ("09:00", "20:00", "2026-06-01T18:00", "2026-06-02T07:00"),
        ("22:00", "06:00", "2026-06-01T23:00", "2026-06-01T23:00"),
        ("22:00", "06:00", "2026-06-01T04:00", "2026-06-01T20:00"),
        # The clock jumps from 02:00 to 03:00 at 01:00 UTC: it opens with the jump, or not at all in that night.
        ("02:30", "20:00", "2026-03-29T00:00", "2026-03-29T01:00"),
        ("02:10", "02:40", "2026-03-29T00:00", "2026-03-30T00:10"),
        # It jumps back from 03:00 to 02:00 at 01:00 UTC: the hour comes twice.
        ("02:30", "02:45", "2026-10-25T00:00", "2026-10-25T00:30"),
        ("02:30", "02:45", "2026-10-25T00:50", "2026-10-25T01:30"),
        ("01:30", "02:15", "2026-10-25T00:20", "2026-10-25T01:00"),
    ],
)
def test_the_nights_of_the_clock_change_are_right(opens: str, closes: str, moment: str, opening: str) -> None:
    assert window(opens, closes).opens_at(utc(moment)) == utc(opening)


def test_a_day_that_a_zone_skips_has_no_window() -> None:
    samoa = window("09:00", "20:00", "Pacific/Apia")
    assert samoa.opens_at(datetime(2011, 12, 30, 7, tzinfo=UTC)) == datetime(2011, 12, 30, 19, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "zone", "field"),
    [
        ("09:00-20:00", "UTC", "send_window"),
        (("09:00",), "UTC", "send_window"),
        (("09:00", "20:00", "21:00"), "UTC", "send_window"),
        (("9", "25:00"), "UTC", "send_window"),
        ((9, 20), "UTC", "send_window"),
        (("09:00", "09:00"), "UTC", "send_window"),
        (("09:00+02:00", "20:00"), "UTC", "send_window"),
        (("09:00", "20:00"), None, "timezone"),
        (("09:00", "20:00"), "Europe/Nowhere", "timezone"),
    ],
)
def test_what_is_no_window_is_refused_by_its_field(value: Any, zone: Any, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_window(value, zone)
    assert caught.value.problems[0].field == field


@pytest.mark.parametrize("nothing", [None, "", "None"])
def test_there_may_be_no_window(nothing: Any) -> None:
    assert read_window(nothing, None) is None
