"""When a message of a campaign may go out once more."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.ledger.database import Database, open_database
from intercom_provider.ledger.ledger import Attempt, Intent, Result
from intercom_provider.ledger.repeat_after import RepeatAfter, read_repeat_after
from intercom_provider.ledger.sql import Owner, SqlLedger

if TYPE_CHECKING:
    import sqlalchemy as sa

    from tests.support.databases import LedgerDatabase

DUBLIN = ZoneInfo("Europe/Dublin")


@dataclass(frozen=True, slots=True)
class DatabaseAt(Database):
    """A database whose clock stands still."""

    moment: datetime

    def now(self, connection: sa.Connection) -> datetime:  # noqa: ARG002 - it is asked over a connection
        return self.moment


def nine_o_clock(week: int, zone: ZoneInfo, jitter: random.Random) -> datetime:
    """Return nine o'clock on the wall in a week of a year, which changes its clock twice, a minute early or late."""
    day = datetime(2026, 1, 5, 9, tzinfo=zone) + timedelta(weeks=week)
    return day.astimezone(UTC) + timedelta(seconds=jitter.uniform(-60, 60))


@pytest.mark.parametrize("timezone", ["Europe/Dublin", "America/New_York", "Australia/Lord_Howe", None])
def test_a_weekly_run_that_starts_early_and_late_sends_every_week_of_a_year(timezone: str | None) -> None:
    repeat = read_repeat_after("7d", timezone)
    assert repeat
    zone = ZoneInfo(timezone or "UTC")
    jitter = random.Random(7)  # noqa: S311 - no secret
    sent: list[datetime] = []
    for week in range(52):
        now = nine_o_clock(week, zone, jitter)
        if not sent or repeat.allows(sent[-1], now):
            sent.append(now)
    assert len(sent) == 52


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_weekly_run_and_one_by_hand_in_between_send_each_person_52_messages_in_a_year(
    database: LedgerDatabase,
) -> None:
    people = [f"{number:024}" for number in range(3)]
    jitter = random.Random(7)  # noqa: S311 - no secret
    real = open_database("ledger")

    def send(run_id: str, now: datetime) -> None:
        at = DatabaseAt(real.engine, real.tables, real.conn_id, now)
        repeat_after = read_repeat_after("7d", "Europe/Dublin")
        owner = Owner("weekly", run_id, "send", -1, 1, 0)
        ledger = SqlLedger(at, owner, Attempt(), campaign="digest", repeat_after=repeat_after)
        ledger.begin_try()
        ledger.look_up(people)
        due = [person for person in people if ledger.find(person) is None]
        assert not ledger.commit({}, dict.fromkeys(due, Intent(None, "email")))
        ledger.commit(dict.fromkeys(due, Result("sent")), {})

    for week in range(52):
        now = nine_o_clock(week, DUBLIN, jitter)
        send(f"week-{week}", now)
        # Somebody starts it by hand between two weeks, as late as the evening before.
        send(f"by-hand-{week}", now + timedelta(days=jitter.randint(0, 6), hours=jitter.randint(0, 11)))
    rows = database.execute("SELECT digest, count(*), max(attempt) FROM intercom_messages GROUP BY digest ORDER BY 1")
    assert rows == [(person, 52, 52) for person in people]
    assert database.execute("SELECT count(*) FROM intercom_messages WHERE run_id LIKE 'by-hand%'") == [(0,)]


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
