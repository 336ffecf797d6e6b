"""``ledger show``: counts of all campaigns, or of one."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.cli.connection import open_ledger
from intercom_provider.ledger.database_thread import Transactions
from intercom_provider.ledger.overview import count_campaigns, read_campaign

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TextIO

    from intercom_provider.ledger.overview import CampaignCount, CampaignOverview

WIDTH_CHARS: Final = 80
_MAX_SECONDS: Final = 60.0
# The most recent ones, because a campaign may run every day for years.
_MAX_DAYS: Final = 31
_MAX_RUNS: Final = 20
_NO_CAMPAIGN: Final = "(no campaign)"
_NO_STATUS: Final = "(not known)"


def run(options: argparse.Namespace, out: TextIO) -> int:
    """
    Show the counts.

    :param options: ``campaign``, ``conn_id`` and ``output``.
    :param out: The standard output.
    :return: The exit status: 0; 1 for a campaign of which the ledger has no row.
    """
    database = open_ledger(options.conn_id)
    transactions = Transactions(database, limit=_MAX_SECONDS)
    as_json = options.output == "json"
    if options.campaign is None:
        counts = transactions.run(partial(count_campaigns, database))
        out.write(json.dumps(_campaigns_json(counts)) + "\n" if as_json else _campaigns_text(counts))
        return 0
    overview = transactions.run(partial(read_campaign, database, campaign=options.campaign))
    if as_json:
        out.write(json.dumps(_campaign_json(options.campaign, overview)) + "\n")
    else:
        out.write(_campaign_text(options.campaign, overview))
    return 0 if overview.outcomes else 1


def _campaigns_json(counts: Sequence[CampaignCount]) -> list[dict[str, Any]]:
    return [{"campaign": name, "outcomes": outcomes} for name, outcomes in _by_campaign(counts).items()]


def _campaigns_text(counts: Sequence[CampaignCount]) -> str:
    if not counts:
        return "The ledger is empty.\n"
    rows = [
        (_NO_CAMPAIGN if name is None else name, outcomes.get("sent", 0), _in_words(outcomes, without="sent"))
        for name, outcomes in _by_campaign(counts).items()
    ]
    return _table(("campaign", "sent", "others"), rows)


def _by_campaign(counts: Iterable[CampaignCount]) -> dict[str | None, dict[str, int]]:
    found: dict[str | None, dict[str, int]] = {}
    for each in counts:
        found.setdefault(each.campaign, {})[each.outcome] = each.number
    return found


def _campaign_json(campaign: str, overview: CampaignOverview) -> dict[str, Any]:
    return {
        "campaign": campaign,
        "outcomes": dict(overview.outcomes),
        "delivery_statuses": {str(status): count for status, count in overview.statuses.items() if status is not None},
        "days": [
            {"day": f"{day:%Y-%m-%d}", "outcome": outcome, "count": count}
            for (day, outcome), count in sorted(overview.days.items())
        ],
        "runs": [
            {"dag_id": dag_id, "run_id": run_id, "outcome": outcome, "count": count}
            for (dag_id, run_id, outcome), count in sorted(overview.runs.items())
        ],
    }


def _campaign_text(campaign: str, overview: CampaignOverview) -> str:
    if not overview.outcomes:
        return f"The ledger has no message of the campaign {campaign}.\n"
    days: dict[str, dict[str, int]] = {}
    for (day, outcome), count in sorted(overview.days.items()):
        days.setdefault(f"{day:%Y-%m-%d}", {})[outcome] = count
    runs: dict[tuple[str, str], dict[str, int]] = {}
    for (dag_id, run_id, outcome), count in sorted(overview.runs.items()):
        runs.setdefault((dag_id, run_id), {})[outcome] = count
    parts = [
        f"Campaign {campaign}\n\n",
        _table(("outcome", "messages"), sorted(overview.outcomes.items())),
        "\n",
        _table(
            ("delivery status of those sent", "messages"),
            sorted((status or _NO_STATUS, count) for status, count in overview.statuses.items()),
        )
        if overview.statuses
        else "",
        "\n",
        _table(("day (UTC)", "sent", "others"), _last(days, _MAX_DAYS)),
        _left_out(days, _MAX_DAYS, "days"),
        "\n",
        _table(
            ("run", "sent", "others"),
            _last({f"{dag_id} {run_id}": outcomes for (dag_id, run_id), outcomes in runs.items()}, _MAX_RUNS),
        ),
        _left_out(runs, _MAX_RUNS, "runs"),
    ]
    return "".join(parts)


def _last(groups: Mapping[str, Mapping[str, int]], number: int) -> list[tuple[str, int, str]]:
    rows = [(name, outcomes.get("sent", 0), _in_words(outcomes, without="sent")) for name, outcomes in groups.items()]
    return rows[-number:]


def _left_out(groups: Mapping[Any, object], number: int, what: str) -> str:
    return f"... and {len(groups) - number:,} {what} more (--output json)\n" if len(groups) > number else ""


def _in_words(outcomes: Mapping[str, int], *, without: str) -> str:
    return ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(outcomes.items()) if outcome != without)


def _table(head: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    """Align columns; the first one is cut so that a line fits into 80 columns."""
    lines = [[*map(str, head)], *([f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    others = sum(widths[1:]) + 2 * (len(head) - 1)
    widths[0] = min(widths[0], max(len(head[0]), WIDTH_CHARS - others))
    texts = []
    for line in lines:
        name = line[0] if len(line[0]) <= widths[0] else f"{line[0][: widths[0] - 1]}…"
        cells = [name.ljust(widths[0]), line[1].rjust(widths[1])]
        cells += [cell.ljust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
        texts.append("  ".join(cells).rstrip())
    return "\n".join(texts) + "\n"
