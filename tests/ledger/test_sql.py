"""The ledger in a table: who may send, who waits, and what each is told, on every database."""

from __future__ import annotations

import itertools
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.ledger.database import open_database
from intercom_provider.ledger.ledger import Attempt, Ids, Intent, Result, SupersededError
from intercom_provider.ledger.repeat_after import RepeatAfter
from intercom_provider.ledger.sql import Lease, Owner, SqlLedger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.databases import LedgerDatabase

ADA: Final = "a" * 24
BOB: Final = "b" * 24
SENT: Final = Result("sent", None, Ids("4039", "wamid.1", "2159"))
INTENT: Final = Intent("ada/1", "inapp")
LONG_AGO: Final = "2000-01-01 00:00:00.000000"

pytestmark = pytest.mark.usefixtures("database")


def ledger(dag: str = "monday", number: int = 1, *, clears: int = 0, map_index: int = -1, **options: Any) -> SqlLedger:
    """Return the ledger of a try of a task in this DAG, of the campaign `welcome`, whose try has begun."""
    owner = Owner(dag, "run-1", "send", map_index, number, number - 1 + clears)
    attempt = Attempt(number, number - 1 + clears, max(0, number - 1))
    made = SqlLedger(open_database("ledger"), owner, attempt, **{"campaign": "welcome", **options})
    made.begin_try()
    return made


def claim(by: SqlLedger, *digests: str) -> bool:
    """Claim messages, and return whether all of them are claimed."""
    by.look_up(digests)
    if any(entry and not by.may_send(entry, "never", "fail") for entry in map(by.find, digests)):
        return False
    return not by.commit({}, dict.fromkeys(digests, INTENT))


def states(of: SqlLedger, *digests: str) -> list[str | None]:
    of.look_up(digests)
    return [entry and entry.state for entry in map(of.find, digests)]


def end_leases(database: LedgerDatabase) -> None:
    database.execute(f"UPDATE intercom_messages SET lease_until = '{LONG_AGO}' WHERE outcome IS NULL")  # noqa: S608 - our own


def outcomes(database: LedgerDatabase) -> list[tuple[Any, ...]]:
    return database.execute("SELECT digest, attempt, outcome FROM intercom_messages ORDER BY digest, attempt")


def at_once(*calls: Any) -> list[Any]:
    """Call functions in threads at the same moment, and return what each returned or raised."""
    results: dict[int, Any] = {}
    start = threading.Barrier(len(calls))

    def run(number: int, call: Any) -> None:
        start.wait()
        try:
            results[number] = call()
        except Exception as error:  # noqa: BLE001 - for the test to judge
            results[number] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return [results[number] for number in range(len(calls))]


@pytest.mark.parametrize("outcome", ["rejected", "not_sent", "expired"])
def test_what_was_certainly_not_sent_holds_nobody_back(database: LedgerDatabase, outcome: str) -> None:
    first, second = ledger(), ledger("tuesday")
    assert claim(first, ADA)
    first.commit({ADA: Result(outcome, "no")}, {})
    assert claim(second, ADA)
    second.commit({ADA: SENT}, {})
    assert outcomes(database) == [(ADA, 1, outcome), (ADA, 2, "sent")]


@pytest.mark.parametrize(("outcome", "state"), [("sent", "sent"), ("unconfirmed", "claimed")])
def test_what_was_or_may_have_been_sent_holds_everybody_back(outcome: str, state: str) -> None:
    first, second = ledger(), ledger("tuesday")
    assert claim(first, ADA)
    first.commit({ADA: SENT._replace(outcome=outcome)}, {})
    assert not claim(second, ADA)
    assert states(second, ADA) == [state]
    assert states(ledger("wednesday", map_index=3), ADA) == [state]


def test_a_message_that_was_sent_names_who_sent_it_and_its_ids() -> None:
    first = ledger()
    claim(first, ADA)
    first.commit({ADA: SENT}, {})
    found = ledger("tuesday").find(ADA)
    assert found
    assert found.ids == Ids("4039", "wamid.1", "2159")
    assert str(found).startswith("DAG monday, run run-1, task send, attempt 1 at 2")
    assert found.message_type == "inapp"


def test_of_two_exactly_one_wins_in_whatever_order_they_look_up_and_claim(database: LedgerDatabase) -> None:
    ledgers = {name: ledger(name) for name in ("monday", "tuesday")}
    orders = [order for order in itertools.product(ledgers, repeat=4) if order.count("monday") == 2]
    for number, order in enumerate(orders):
        digest = f"{number:024}"
        looked_up: dict[str, bool] = {}
        won = 0
        for name in order:
            each = ledgers[name]
            if name not in looked_up:
                each.look_up([digest])
                looked_up[name] = each.find(digest) is None
            elif looked_up[name]:
                won += not each.commit({}, {digest: INTENT})
        assert won == 1, order
    assert len(outcomes(database)) == len(orders)


def test_of_many_who_claim_at_the_same_moment_each_message_has_one_winner() -> None:
    digests = [f"{number:024}" for number in range(40)]
    ledgers = [ledger(f"dag-{number}") for number in range(4)]
    for each in ledgers:
        each.look_up(digests)
    orders = [digests, digests[::-1], digests[20:] + digests[:20], digests[::-1]]
    refused = at_once(
        *(
            lambda each=each, order=order: each.commit({}, dict.fromkeys(order, INTENT))
            for each, order in zip(ledgers, orders, strict=True)
        )
    )
    won = [set(digests) - set(found) for found in refused]
    assert sum(map(len, won)) == len(digests)
    assert set().union(*won) == set(digests)


def test_a_refused_claim_is_told_who_has_it() -> None:
    first, second = ledger(), ledger("tuesday")
    second.look_up([ADA, BOB])
    claim(first, ADA)
    assert second.commit({}, {ADA: INTENT, BOB: INTENT}) == {ADA}
    found = second.find(ADA)
    assert found
    assert (found.state, found.lease_runs, found.run) == ("claimed", True, "DAG monday, run run-1, task send")


def test_an_ended_lease_is_claimed_for_others_and_unconfirmed_for_its_own_task_instance(
    database: LedgerDatabase,
) -> None:
    claim(ledger(), ADA)
    other = ledger("tuesday")
    for ended in (False, True):
        if ended:
            end_leases(database)
        other.look_up([ADA])
        found = other.find(ADA)
        assert found
        assert (found.state, found.lease_runs) == ("claimed", not ended)
        assert not other.may_send(found, "never", "fail")
        assert not other.may_send(found, "never", "assume_sent")
        assert other.may_send(found, "never", "resend") is ended
    own = ledger(number=2).find(ADA)
    assert own
    assert (own.state, own.run, own.map_index) == ("intent", None, None)


def test_the_earlier_tries_of_a_task_instance_are_over_though_their_leases_run(database: LedgerDatabase) -> None:
    claim(ledger(), ADA)
    assert outcomes(database) == [(ADA, 1, None)]
    second = ledger(number=2)
    assert outcomes(database) == [(ADA, 1, "unconfirmed")]
    found = second.find(ADA)
    assert found
    assert found.state == "intent"
    assert second.may_send(found, "never", "resend")
    assert states(ledger("tuesday"), ADA) == ["claimed"]


def test_another_map_index_is_another_task_instance(database: LedgerDatabase) -> None:
    claim(ledger(map_index=0), ADA)
    second = ledger(map_index=1)
    assert outcomes(database) == [(ADA, 1, None)]
    found = second.find(ADA)
    assert found
    assert (found.state, found.map_index, found.run) == ("claimed", 0, None)


def test_of_two_that_take_an_ended_lease_over_one_wins(database: LedgerDatabase) -> None:
    claim(ledger(), ADA)
    end_leases(database)
    takers = [ledger(f"taker-{number}") for number in range(3)]
    for each in takers:
        each.look_up([ADA])
    refused = at_once(*(lambda each=each: each.commit({}, {ADA: INTENT}) for each in takers))
    assert sorted(map(len, refused)) == [0, 1, 1]
    assert outcomes(database) == [(ADA, 1, None), (ADA, 2, None)]


def test_a_try_that_lives_on_is_superseded_and_still_records_what_it_sent(database: LedgerDatabase) -> None:
    first = ledger()
    claim(first, ADA, BOB)
    second = ledger(number=2)
    assert not first.is_current()
    with pytest.raises(SupersededError):
        first.commit({ADA: SENT}, {})
    assert outcomes(database) == [(ADA, 1, "sent"), (BOB, 1, "unconfirmed")]
    assert states(second, ADA, BOB) == ["sent", "intent"]
    assert second.is_current()


def test_a_superseded_try_claims_nothing_more_that_it_could_send() -> None:
    first = ledger()
    claim(first, ADA)
    ledger(number=2)
    with pytest.raises(SupersededError):
        first.commit({}, {BOB: INTENT})


def test_a_stop_releases_what_was_not_begun(database: LedgerDatabase) -> None:
    first = ledger()
    claim(first, ADA, BOB)
    first.commit({ADA: SENT, BOB: None}, {})
    assert outcomes(database) == [(ADA, 1, "sent")]
    assert claim(ledger("tuesday"), BOB)


def test_a_message_that_waits_is_released_and_claimed_again() -> None:
    first = ledger()
    for _ in range(3):
        assert claim(first, ADA)
        first.commit({ADA: None}, {})
    assert claim(first, ADA)
    assert not first.commit({ADA: None}, {ADA: INTENT})
    first.commit({ADA: SENT}, {})
    assert states(first, ADA) == ["sent"]


def test_a_released_message_that_another_run_claims_first_is_refused() -> None:
    first, second = ledger(), ledger("tuesday")
    claim(first, ADA)
    first.commit({ADA: None}, {})
    assert claim(second, ADA)
    assert first.commit({}, {ADA: INTENT}) == {ADA}
    assert states(first, ADA) == ["claimed"]


def test_claims_are_renewed_by_the_commits_of_a_try(database: LedgerDatabase) -> None:
    first = ledger(lease=Lease(600, renew_after=0.0))
    claim(first, ADA)
    database.execute("UPDATE intercom_messages SET lease_until = claimed_at")
    assert first.wants_commit
    first.commit({}, {})
    found = ledger("tuesday").find(ADA)
    assert found
    assert found.lease_runs


def test_a_commit_right_after_a_claim_renews_nothing(database: LedgerDatabase) -> None:
    first = ledger()
    claim(first, ADA)
    before = database.execute("SELECT lease_until FROM intercom_messages")
    assert not first.wants_commit
    first.commit({}, {BOB: INTENT})
    assert before == database.execute(f"SELECT lease_until FROM intercom_messages WHERE digest = '{ADA}'")  # noqa: S608 - our own


def test_nothing_is_sent_on_a_lease_that_is_about_to_end() -> None:
    first = ledger(lease=Lease(100, margin=100))
    assert first.may_send_now
    claim(first, ADA)
    assert not first.may_send_now
    first.commit({ADA: None}, {})
    assert first.may_send_now


def test_repeat_after_lets_a_message_go_out_again(database: LedgerDatabase) -> None:
    weekly: dict[str, Any] = {"repeat_after": RepeatAfter(timedelta(hours=12))}
    first, second = ledger(**weekly), ledger("tuesday", **weekly)
    claim(first, ADA)
    first.commit({ADA: SENT}, {})
    assert not claim(second, ADA)
    database.execute(f"UPDATE intercom_messages SET finished_at = '{LONG_AGO}'")  # noqa: S608 - our own
    assert not claim(ledger("wednesday"), ADA)
    assert claim(second, ADA)
    second.commit({ADA: SENT}, {})
    assert outcomes(database) == [(ADA, 1, "sent"), (ADA, 2, "sent")]
    assert not claim(ledger("thursday", **weekly), ADA)


def test_repeat_after_never_repeats_what_is_unconfirmed_or_claimed(database: LedgerDatabase) -> None:
    first = ledger()
    claim(first, ADA, BOB)
    first.commit({ADA: Result("unconfirmed", "no reply")}, {})
    database.execute(f"UPDATE intercom_messages SET claimed_at = '{LONG_AGO}'")  # noqa: S608 - our own
    second = ledger("tuesday", repeat_after=RepeatAfter(timedelta(minutes=1)))
    assert states(second, ADA, BOB) == ["claimed", "claimed"]


@pytest.mark.parametrize(
    ("dag", "map_index", "may"), [("monday", -1, True), ("tuesday", -1, False), ("monday", 2, False)]
)
def test_on_clear_holds_for_the_task_instance_itself_only(dag: str, map_index: int, may: bool) -> None:
    first = ledger()
    claim(first, ADA)
    first.commit({ADA: SENT}, {})
    cleared = ledger(dag, number=2, clears=1, map_index=map_index)
    found = cleared.find(ADA)
    assert found
    assert cleared.may_send(found, "on_clear", "fail") is may
    assert not cleared.may_send(found, "never", "fail")


def test_scopes_and_campaigns_do_not_mix() -> None:
    made = [ledger(), ledger(campaign="welcome/2"), ledger(campaign=None), ledger("tuesday", campaign=None)]
    assert all(claim(each, ADA) for each in made)
    assert len({each.salt for each in made}) == len(made)


def test_long_names_and_keys_are_kept_whole(database: LedgerDatabase) -> None:
    key, campaign = "k" * 2_000, "é" * 200
    first = ledger("d" * 250, campaign=campaign)
    assert not first.commit({}, {ADA: Intent(key, "whatsapp")})
    first.commit({ADA: SENT._replace(reason="r" * 5_000)}, {})
    rows = database.execute("SELECT scope, key, length(reason) FROM intercom_messages")
    assert rows == [(f"c:{campaign}", key, 5_000)]
    assert not claim(ledger(campaign=campaign), ADA)


@pytest.mark.parametrize("key", ["a\0b", "a\ud800b"])
def test_a_key_that_no_database_can_hold_is_an_error_before_anything_is_claimed(
    database: LedgerDatabase, key: str
) -> None:
    first = ledger()
    with pytest.raises(InvalidInputError, match=r"^key: "):
        first.commit({}, {ADA: INTENT, BOB: Intent(key, "inapp")})
    assert outcomes(database) == []


def test_what_intercom_or_a_person_wrote_is_recorded_as_far_as_it_can_be(database: LedgerDatabase) -> None:
    first = ledger()
    claim(first, ADA)
    first.commit({ADA: Result("rejected", "a\0b\ud800c")}, {})
    assert database.execute("SELECT reason FROM intercom_messages") == [("a\ufffdb\ufffdc",)]


def test_many_messages_are_looked_up_claimed_and_recorded_in_parts() -> None:
    digests = [f"{number:024}" for number in range(4_003)]
    first, second = ledger(), ledger("tuesday")
    assert claim(first, *digests)
    results: Mapping[str, Result] = dict.fromkeys(digests, SENT)
    first.commit(results, {})
    begun = time.monotonic()
    assert states(second, *digests) == ["sent"] * len(digests)
    # Of a table that has just grown a database knows little, and a bad plan reads the whole campaign for each message.
    assert time.monotonic() - begun < 4
