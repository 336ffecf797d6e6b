"""Reading a ledger as its people do: counts of campaigns, what is unconfirmed, one person's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date, datetime

    from intercom_provider.ledger.database import Database

CLAIMED = "claimed"
"""How a row without an outcome is shown: its message is being sent, or its sender was killed."""

_READ_AT_ONCE = 1_000


class CampaignCount(NamedTuple):
    """
    How many attempts of a campaign ended with an outcome.

    :param campaign: The campaign; None for all messages without one.
    :param outcome: The outcome.
    :param number: How many.
    """

    campaign: str | None
    outcome: str
    number: int


class CampaignOverview(NamedTuple):
    """
    The counts of one campaign.

    :param outcomes: By outcome.
    :param statuses: By delivery status, of what was sent; None for those of which no status is known.
    :param days: By day (UTC) and outcome.
    :param runs: By DAG, run and outcome.
    """

    outcomes: Mapping[str, int]
    statuses: Mapping[str | None, int]
    days: Mapping[tuple[date, str], int]
    runs: Mapping[tuple[str, str, str], int]


class OpenMessage(NamedTuple):
    """
    An attempt of which nobody knows whether the message was sent.

    :param digest: The message's digest.
    :param key: The user's own id for it; None when it has none.
    :param reason: Why it is not known.
    :param dag_id: The DAG that attempted it.
    :param run_id: Its run.
    :param task_id: Its task.
    :param claimed_at: When it was claimed.
    """

    digest: str
    key: str | None
    reason: str | None
    dag_id: str
    run_id: str
    task_id: str
    claimed_at: datetime


def count_campaigns(database: Database, connection: sa.Connection) -> list[CampaignCount]:
    """
    Count the attempts of each campaign by outcome.

    :param database: The ledger's database.
    :param connection: A connection to it.
    :return: The counts, in the order of the campaigns' names.
    """
    columns = database.tables.messages.c
    query = (
        sa.select(columns.campaign, columns.outcome, sa.func.count())
        .group_by(columns.campaign, columns.outcome)
        .order_by(columns.campaign, columns.outcome)
    )
    return [
        CampaignCount(campaign, outcome or CLAIMED, count) for campaign, outcome, count in connection.execute(query)
    ]


def read_campaign(database: Database, connection: sa.Connection, campaign: str) -> CampaignOverview:
    """
    Count the attempts of one campaign.

    :param database: The ledger's database.
    :param connection: A connection to it.
    :param campaign: The campaign.
    :return: The counts, all from one pass over its rows.
    """
    columns = database.tables.messages.c
    # The columns of an index in its order: SQLite groups without it by sorting, PostgreSQL by reading all rows.
    groups = (columns.outcome, columns.delivery_status, columns.claimed_on, columns.dag_id, columns.run_id)
    query = sa.select(*groups, sa.func.count()).where(columns.campaign == campaign).group_by(*groups)
    outcomes: dict[str, int] = {}
    statuses: dict[str | None, int] = {}
    days: dict[tuple[date, str], int] = {}
    runs: dict[tuple[str, str, str], int] = {}
    for given, status, day, dag_id, run_id, count in connection.execute(query):
        outcome = given or CLAIMED
        outcomes[outcome] = outcomes.get(outcome, 0) + count
        if outcome == "sent":
            statuses[status] = statuses.get(status, 0) + count
        days[day, outcome] = days.get((day, outcome), 0) + count
        runs[dag_id, run_id, outcome] = runs.get((dag_id, run_id, outcome), 0) + count
    return CampaignOverview(outcomes, statuses, days, runs)


def is_open(database: Database) -> sa.ColumnElement[bool]:
    """
    Return the condition for attempts without a known outcome, in the words of their index.

    :param database: The ledger's database.
    :return: The condition.
    """
    outcome = database.tables.messages.c.outcome
    # SQLite uses an index of some rows only for a query that says which, with the same literals.
    return sa.or_(outcome.is_(None), outcome == sa.text("'unconfirmed'"))


def read_open(database: Database, connection: sa.Connection, campaign: str) -> list[OpenMessage]:
    """
    Read the newest attempts of a campaign's messages whose outcome is not known, over all runs.

    A claim whose lease runs is being sent, and is left out.

    :param database: The ledger's database.
    :param connection: A connection to it.
    :param campaign: The campaign.
    :return: The attempts, the oldest first.
    """
    table, columns = database.tables.messages, database.tables.messages.c
    later = table.alias("later")
    is_newest = ~sa.exists().where(
        later.c.scope == columns.scope, later.c.digest == columns.digest, later.c.attempt > columns.attempt
    )
    now = database.now(connection)
    has_ended = sa.or_(columns.outcome.is_not(None), columns.lease_until.is_(None), columns.lease_until <= now)
    query = (
        sa.select(*(columns[name] for name in OpenMessage._fields))
        .where(is_open(database), columns.campaign == campaign, has_ended, is_newest)
        .order_by(columns.claimed_at, columns.digest)
    )
    return [OpenMessage(*row) for row in connection.execute(query)]


def sent_message_ids(database: Database, campaign: str) -> Iterator[str]:
    """
    Read Intercom's ids of the messages that a campaign has sent, a thousand at a time.

    :param database: The ledger's database.
    :param campaign: The campaign.
    :return: The ids.
    """
    columns = database.tables.messages.c
    query = sa.select(columns.message_id).where(
        columns.campaign == campaign, columns.outcome == "sent", columns.message_id.is_not(None)
    )
    with database.engine.begin() as connection:
        found = connection.execute(query, execution_options={"yield_per": _READ_AT_ONCE})
        yield from found.scalars()
