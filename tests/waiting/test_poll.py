"""What a wait asks for at each poll, counted at the sandbox; the clock is the test's own."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.client import IntercomClient
from intercom_provider.api.errors import IntercomError
from intercom_provider.api.parallel import MAX_UNTAKEN_RESULTS
from intercom_provider.api.settings import Settings
from intercom_provider.sandbox import Sandbox
from intercom_provider.waiting.delivery_wait import MAX_PENDING_A_POLL, DeliveryWait
from intercom_provider.waiting.list_position import MAX_PARTIAL_POLLS, LastStatuses, ListPosition, Survey
from intercom_provider.waiting.poll import FullPoll, PartialPoll, SeenStatus, Watch
from intercom_provider.waiting.statuses import Criteria, Summary
from tests.support import hostile
from tests.support.hostile import Hostile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START = 1_800_000_000.0
LATER = START + 100_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(rate_limit=0) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: Sandbox) -> Sandbox:
    server.reset()
    return server


class Wait:
    """
    A wait as the sensor and the trigger take turns at it: between two polls there is only its state, as JSON.

    :param server: Where it asks.
    :param deferrable: Whether polls are the trigger's.
    """

    def __init__(self, server: Sandbox | Hostile, target: Watch, *, deferrable: bool = True, **criteria: Any) -> None:
        self.target = target
        self.criteria = Criteria(**criteria)
        self.deferrable = deferrable
        self.now = START
        self.state: Any = None
        self.line = ""
        self.progress_values: dict[str, Any] = {}
        self.found: FullPoll | PartialPoll | None = None
        self.sightings: list[SeenStatus] = []
        self.needs_details: Callable[[str], bool] = lambda _: False
        self.max_pending_a_poll = MAX_PENDING_A_POLL
        self._server = server
        self._asked = len(server.requests)
        self._settings = Settings(token=server.token, base_url=server.url)

    def poll(self, *, full: bool = False, may_stop_early: bool | None = None) -> str:
        """Poll a minute later."""
        self.now += 60
        wait = DeliveryWait(
            target=self.target,
            criteria=self.criteria,
            started=START,
            deadline=LATER,
            max_pending_a_poll=self.max_pending_a_poll,
        )
        if self.state is not None:
            wait.resume(json.loads(json.dumps(self.state)))
        self.sightings = []
        may_stop_early = self.deferrable and self.state is not None if may_stop_early is None else may_stop_early
        poll = wait.poll(
            self.now, self.sightings.append, needs_details=self.needs_details, full=full, may_stop_early=may_stop_early
        )
        try:
            with IntercomClient(self._settings) as client:
                found = client.run(poll)
        except IntercomError as error:
            verdict = wait.poll_failed(error, self.now)
        else:
            verdict = wait.update(found, self.now)
            self.found, self.line, self.progress_values = (
                found,
                wait.progress(found, self.now),
                wait.progress_values(found),
            )
        self.state = wait.state()
        if verdict == "settled" and may_stop_early and not full:
            # The trigger's event wakes the sensor, which looks for itself.
            self.now -= 60
            return self.poll(full=True)
        return verdict

    @property
    def asked(self) -> int:
        """How many requests there were since this was asked for last."""
        before, self._asked = self._asked, len(self._server.requests)
        return self._asked - before

    @property
    def summary(self) -> Summary:
        """What the last full look counted."""
        assert isinstance(self.found, FullPoll)
        return self.found.summary


def ruleset(sandbox: Sandbox, pages: int, status: str = "sent") -> list[str]:
    ids = [f"wamid.{number}=" for number in range(100 * pages)]
    sandbox.add_ruleset("7", events=[{"whatsapp_message_id": each, "status": status} for each in ids])
    return ids


def waiting(sandbox: Sandbox | Hostile, **criteria: Any) -> Wait:
    return Wait(sandbox, Watch(ruleset_id="7"), **criteria)


ORDERS: dict[str, Callable[[list[str]], list[str]]] = {
    "front to back": list,
    "back to front": lambda ids: ids[::-1],
    "at random": lambda ids: random.Random(1).sample(ids, len(ids)),  # noqa: S311
    "on all pages alike": lambda ids: sorted(ids, key=lambda each: int(each[6:-1]) % 100),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("off", [0, 1], ids=["nobody stays off", "a phone on page 1 stays off"])
def test_a_long_list_that_settles_costs_three_passes_and_a_request_a_poll(
    sandbox: Sandbox, order: str, off: int
) -> None:
    pages, polls = (100, 30) if (order, off) == ("at random", 0) else (25, 15)
    ids = ruleset(sandbox, pages)
    wait = waiting(sandbox, expected_count=len(ids), max_pending=off, deferrable=order != "back to front")
    assert wait.poll() == "wait"
    settling = [each for each in ORDERS[order](ids) if not off or each != ids[3]]
    for number in range(polls):
        for each in settling[len(settling) * number // polls : len(settling) * (number + 1) // polls]:
            sandbox.set_status(each, "failed" if each.endswith("7=") else "delivered")
        verdict = wait.poll()
        assert len(json.dumps(wait.state)) < 8_000
    # Where several pages hold up the wait, the turn of the last one may come a poll later.
    if off and verdict == "wait":
        verdict = wait.poll()
    assert verdict == "settled"
    assert wait.asked <= polls + 3 * pages
    failed = len(ids) // 10
    assert wait.summary == Summary(total=len(ids), sent=off, delivered=len(ids) - failed - off, failed=failed)


@pytest.mark.parametrize("order", ORDERS)
def test_what_may_stay_pending_is_neither_waited_for_nor_dear(sandbox: Sandbox, order: str) -> None:
    ids = ruleset(sandbox, 25)
    wait = waiting(sandbox, expected_count=2_500, max_pending=0.05)
    wait.poll()
    never = set(ids[:20]) | set(ids[20::25])
    settling = [each for each in ORDERS[order](ids) if each not in never]
    for number in range(15):
        for each in settling[len(settling) * number // 15 : len(settling) * (number + 1) // 15]:
            sandbox.set_status(each, "read")
        wait.poll()
    polls = 0
    while not isinstance(wait.found, FullPoll) and polls < 10:
        polls += 1
        wait.poll()
    assert wait.summary == Summary(total=2_500, sent=len(never), read=2_500 - len(never))
    assert wait.asked <= 5 * 25 + 15


def test_a_list_of_twenty_pages_is_read_in_full_at_every_poll(sandbox: Sandbox) -> None:
    ruleset(sandbox, 20)
    wait = waiting(sandbox, expected_count=2_000)
    for _ in range(3):
        assert wait.poll() == "wait"
        assert wait.asked == 20
        assert wait.progress_values["as_of"] == wait.now


def test_the_log_says_which_page_is_waited_for_and_how_old_the_counts_are(sandbox: Sandbox) -> None:
    ids = ruleset(sandbox, 25)
    wait = waiting(sandbox, expected_count=2_500)
    wait.poll()
    seen = wait.now
    for each in ids[:1_250]:
        sandbox.set_status(each, "delivered")
    wait.poll()
    assert wait.line == (
        "WhatsApp ruleset 7: pages 1-12 of 25 settled; waiting on page 13; the last full look, 60 s ago, saw "
        "0 of 2500 settled (0 delivered, 0 read, 0 failed), 2500 still sent"
    )
    assert wait.progress_values == {
        "total": 2_500,
        "sent": 2_500,
        "delivered": 0,
        "read": 0,
        "failed": 0,
        "as_of": seen,
        "waiting_on_page": 13,
    }


def test_one_message_that_never_settles_costs_a_request_a_poll_and_a_full_look_now_and_then(sandbox: Sandbox) -> None:
    ids = ruleset(sandbox, 21, "read")
    sandbox.set_status(ids[5], "sent")
    wait = waiting(sandbox, expected_count=2_100)
    assert wait.poll() == "wait"
    assert wait.asked == 21
    assert {wait.poll() for _ in range(MAX_PARTIAL_POLLS)} == {"wait"}
    assert wait.asked == MAX_PARTIAL_POLLS
    assert "waiting on page 1 of 21" in wait.line
    wait.poll()
    assert wait.asked == 21


@pytest.mark.parametrize("settle_for", [0.5, 1_800, 86_400])
def test_how_long_a_list_has_to_rest_is_told_as_it_was_given(sandbox: Sandbox, settle_for: float) -> None:
    ruleset(sandbox, 1, "read")
    wait = waiting(sandbox, settle_for=settle_for)
    assert wait.poll() == "wait"
    assert f"no growth for 0 of {settle_for} s" in wait.line


def test_while_a_list_grows_a_poll_costs_one_request(sandbox: Sandbox) -> None:
    ruleset(sandbox, 21, "read")
    wait = waiting(sandbox, settle_for=300)
    assert wait.poll() == "wait"
    assert wait.asked == 21
    for _ in range(5):
        sandbox.add_ruleset("7", events=[{"status": "sent"}])
        assert wait.poll() == "wait"
        assert wait.asked == 1
    assert "no growth for 0 of 300 s" in wait.line
    for _ in range(4):
        assert wait.poll() == "wait"
    assert wait.asked == 4
    # Quiet for long enough: now the full look finds those who have joined.
    assert wait.poll() == "wait"
    assert wait.asked == 1 + 22
    assert wait.summary == Summary(total=2_105, sent=5, read=2_100)
    assert wait.poll() == "wait"
    assert wait.asked == 1
    assert "pages 1-21 of 22 settled; waiting on page 22" in wait.line


def test_those_still_expected_are_waited_for_with_one_request_a_poll(sandbox: Sandbox) -> None:
    ruleset(sandbox, 21, "read")
    wait = waiting(sandbox, expected_count=2_101)
    for _ in range(3):
        assert wait.poll() == "wait"
    assert wait.asked == 21 + 2
    assert "2100 of 2101 messages are there" in wait.line
    sandbox.add_ruleset("7", events=[{"status": "failed"}])
    assert wait.poll() == "settled"
    assert wait.summary == Summary(total=2_101, read=2_100, failed=1)


def test_only_events_of_this_campaign_hold_it_up(sandbox: Sandbox) -> None:
    old = [{"whatsapp_message_id": f"wamid.old{n}=", "status": "sent", "created_at": 1_000} for n in range(2_050)]
    new = [{"whatsapp_message_id": f"wamid.new{n}=", "status": "sent", "created_at": 3_000} for n in range(100)]
    sandbox.add_ruleset("7", events=[*old, *new])
    wait = Wait(sandbox, Watch(ruleset_id="7", created_after=2_000), settle_for=60)
    wait.poll()
    assert wait.poll() == "wait"
    assert wait.asked == 22 + 1
    for n in range(100):
        sandbox.set_status(f"wamid.new{n}=", "delivered")
    assert wait.poll() == "settled"
    assert wait.summary == Summary(total=100, delivered=100)


def test_a_message_that_moves_while_the_list_is_read_is_not_lost_where_only_this_campaign_counts() -> None:
    old, first = hostile.event("wamid.1", "read", created_at=1_000), hostile.event("wamid.2", "read", created_at=3_000)
    moved = hostile.event("wamid.3", "failed", created_at=3_000)
    with Hostile() as server:
        # The last one moves to the top, which was read before, and pushes another one down to be read twice.
        for events, cursor in (([old, first], "2"), ([first], None)):
            pages = {"type": "pages", "next": {"starting_after": cursor} if cursor else None}
            listed = {"type": "list", "pages": pages, "total_count": 3, "events": events}
            server.script(hostile.answer(200, listed))
        server.pages = [[moved, old, first]]
        wait = Wait(server, Watch(ruleset_id="7", created_after=2_000))
        assert wait.poll() == "wait"
        assert wait.poll() == "settled"
        assert wait.summary == Summary(total=2, read=1, failed=1)


def test_a_message_that_is_listed_twice_does_not_hold_it_up(sandbox: Sandbox) -> None:
    ids = ruleset(sandbox, 21, "read")
    sandbox.set_status(ids[2_000], "sent")
    again = {"whatsapp_message_id": ids[0], "status": "sent"}
    sandbox.add_ruleset("7", events=[again])
    wait = waiting(sandbox, expected_count=2_100)
    assert wait.poll() == "wait"
    sandbox.set_status(ids[2_000], "read")
    # Shorter than announced, but two full looks see the same.
    assert wait.poll() == "settled"
    assert wait.summary == Summary(total=2_100, read=2_100)


@pytest.mark.parametrize("break_it", ["other watch", "no place", "nonsense", "older version", "marks", "too many"])
def test_a_place_that_makes_no_sense_is_begun_anew_with_a_full_look(sandbox: Sandbox, break_it: str) -> None:
    ruleset(sandbox, 21)
    wait = waiting(sandbox, expected_count=2_100)
    wait.poll()
    position = wait.state["place"]
    if break_it == "other watch":
        wait.target = Watch(ruleset_id="7", created_after=1.0)
    elif break_it == "no place":
        wait.state["place"] = {}
    elif break_it == "nonsense":
        wait.state["place"] = {**position, "pages": "many"}
    elif break_it == "older version":
        del wait.state["place"], wait.state["known"], wait.state["of"], wait.state["seen"]
    elif break_it == "marks":
        wait.state["place"] = {**position, "marks": [[1, None, 3]]}
    else:
        wait.state["place"] = {**position, "marks": [[n, "x", 1, 0] for n in range(1_000)]}
    assert wait.asked == 21
    assert wait.poll() == "wait"
    assert wait.asked == 21
    assert wait.state["place"] == position


@pytest.mark.parametrize("status", [400, 404])
def test_a_cursor_that_is_no_good_any_more_costs_a_full_look(status: int) -> None:
    with Hostile() as server:
        server.pages = [[hostile.event(f"wamid.{page}", "sent")] for page in range(21)]
        wait = waiting(server, expected_count=21)
        wait.poll()
        server.pages[0] = [hostile.event("wamid.0", "read")]
        wait.poll()
        assert wait.asked == 21 + 2
        server.script(hostile.error(status, "parameter_invalid"))
        assert wait.poll() == "wait"
        assert wait.asked == 1 + 21
        assert wait.summary == Summary(total=21, sent=20, read=1)


def test_a_glance_that_fails_for_a_reason_that_passes_is_no_reason_for_a_full_look() -> None:
    with Hostile() as server:
        server.pages = [[hostile.event(f"wamid.{page}", "sent")] for page in range(21)]
        wait = waiting(server, expected_count=21)
        wait.poll()
        server.script(hostile.error(500, "server_error"))
        assert [wait.poll(), wait.poll()] == ["wait", "wait"]
        assert wait.asked == 21 + 2


def test_a_wrong_token_ends_a_glance_in_its_own_words() -> None:
    with Hostile() as server:
        server.pages = [[hostile.event(f"wamid.{page}", "sent")] for page in range(21)]
        wait = waiting(server, expected_count=21)
        wait.poll()
        server.always(hostile.error(401, "token_revoked"))
        with pytest.raises(IntercomError, match="token_revoked"):
            wait.poll()


@pytest.mark.parametrize(("cursor", "pages"), [("c" * 20, 5_000), ("c" * 500, 1_000), ("c" * 9_000, 40)])
def test_what_is_remembered_of_a_list_stays_small_and_is_spread_over_all_of_it(cursor: str, pages: int) -> None:
    survey = Survey()
    for page in range(1, pages + 1):
        survey.note(page, f"{cursor}{page}", 7)
    total = 100 * pages
    position = survey.position(pages=pages, announced=total, summary=Summary(total, sent=total), pending=7 * pages)
    if len(cursor) > 8_000:
        assert position is None
        return
    assert position is not None
    assert len(json.dumps(position.state())) < 12_000
    assert ListPosition.resume(position.state()) == position
    numbers = [mark.page for mark in position.marks]
    assert numbers[0] == 1
    assert numbers[-1] > 0.85 * pages
    assert position.guess(7, 7, 7 * (len(numbers) - 1)) == pytest.approx(7 * pages)


IDS = tuple(f"wamid.{number:03d}=" for number in range(250))


def asked_for(sandbox: Sandbox, since: int = 0) -> list[str]:
    """Tell for which messages there were requests; those side by side arrive in any order."""
    return sorted(request.params["message_id"] for request in sandbox.requests[since:])


def messages(sandbox: Sandbox, **criteria: Any) -> Wait:
    sandbox.add_ruleset("7", events=[{"whatsapp_message_id": each, "status": "sent"} for each in IDS])
    return Wait(sandbox, Watch(whatsapp_message_ids=IDS, refused=1), expected_count=251, **criteria)


def test_a_poll_ends_when_so_many_that_it_asked_for_are_pending_and_the_next_goes_on_from_there(
    sandbox: Sandbox,
) -> None:
    wait = messages(sandbox)
    wait.max_pending_a_poll = 20
    total = 0
    for _ in range(25):
        assert wait.poll() == "wait"
        asked = wait.asked
        # Some more are under way by then.
        assert 20 <= asked <= 20 + MAX_UNTAKEN_RESULTS
        assert f"; {250 - asked} of them not asked for this time" in wait.line or asked == 250
        total += asked
    often = Counter(asked_for(sandbox)).values()
    assert sum(often) == total >= 500
    assert max(often) - min(often) <= 1
    assert len(json.dumps(wait.state)) < 1_000


def test_a_message_that_has_settled_is_not_asked_for_again(sandbox: Sandbox) -> None:
    wait = messages(sandbox, max_pending=20)
    for each in IDS[:200]:
        sandbox.set_status(each, "read" if each < "wamid.100" else "failed")
    assert wait.poll() == "wait"
    assert wait.asked == 250
    assert wait.poll() == "wait"
    assert asked_for(sandbox, 250) == [*IDS[200:]]
    assert wait.asked == 50
    for each in IDS[200:235]:
        sandbox.set_status(each, "delivered")
    assert wait.poll() == "settled"
    assert asked_for(sandbox, 300) == sorted([*IDS[200:], *IDS[235:]])
    assert wait.summary == Summary(total=251, sent=15, delivered=35, read=100, failed=101)
    assert sorted(each.whatsapp_message_id for each in wait.sightings) == list(IDS)
    assert {each.status for each in wait.sightings if each.whatsapp_message_id < "wamid.200"} == {"read", "failed"}


def test_where_many_have_settled_the_first_look_sees_them_all(sandbox: Sandbox) -> None:
    wait = messages(sandbox)
    for each in IDS:
        sandbox.set_status(each, "delivered")
    assert wait.poll() == "settled"
    assert wait.asked == 250
    assert [each.whatsapp_message_id for each in wait.sightings] == list(IDS)


def test_read_may_follow_delivered_and_nothing_goes_back(sandbox: Sandbox) -> None:
    sandbox.add_ruleset("7", events=[{"whatsapp_message_id": each, "status": "delivered"} for each in IDS[:2]])
    wait = Wait(sandbox, Watch(whatsapp_message_ids=IDS[:2]), expected_count=2, wait_for="read")
    assert wait.poll() == "wait"
    sandbox.set_status(IDS[0], "read")
    sandbox.set_status(IDS[1], "sent")
    assert wait.poll() == "wait"
    assert wait.progress_values["delivered"] == wait.progress_values["read"] == 1
    assert asked_for(sandbox, 2) == [*IDS[:2]]
    assert wait.poll() == "wait"
    assert asked_for(sandbox, 4) == [IDS[1]]


def test_those_of_whom_more_is_told_are_asked_for_once_more_in_the_end(sandbox: Sandbox) -> None:
    wait = messages(sandbox)
    wait.needs_details = lambda status: status == "failed"
    for each in IDS[1:]:
        sandbox.set_status(each, "delivered")
    sandbox.set_status(IDS[1], "failed", error={"message": "No phone", "details": "470"})
    assert wait.poll() == "wait"
    sandbox.set_status(IDS[0], "delivered")
    assert wait.poll() == "settled"
    assert asked_for(sandbox, 250) == [IDS[0], IDS[1]]
    assert wait.sightings[1].reason == "No phone: 470"


def test_what_is_known_of_a_hundred_thousand_messages_is_kept_in_little() -> None:
    last_statuses = LastStatuses.nothing(100_000)
    chance = random.Random(1)  # noqa: S311 - no secret
    for index, status in enumerate(chance.choices(("sent", "delivered", "read", "failed"), (10, 30, 55, 5), k=100_000)):
        last_statuses.update(index, status)
    stored = json.dumps(last_statuses.state())
    # Airflow's task state store takes 64 KB.
    assert len(stored) < 40_000
    assert LastStatuses.resume(json.loads(stored), 100_000) == last_statuses


@pytest.mark.parametrize(
    "known",
    [
        None,
        {},
        {"ranks": "00", "next": 0},
        {"ranks": "not of this alphabet!", "next": 0},
        {"ranks": b64encode(b"\0" * 250).decode(), "next": 0},
        {"ranks": LastStatuses(bytearray(b"\x04" * 250)).state()["ranks"], "next": 0},
        {"ranks": LastStatuses(bytearray(251)).state()["ranks"], "next": 0},
    ],
)
def test_what_is_known_of_other_messages_is_not_believed(sandbox: Sandbox, last_statuses: Any) -> None:
    wait = messages(sandbox)
    for each in IDS:
        sandbox.set_status(each, "failed")
    sandbox.set_status(IDS[7], "sent")
    wait.poll()
    wait.state["known"] = last_statuses
    assert wait.asked == 250
    wait.poll()
    assert wait.asked == 250
