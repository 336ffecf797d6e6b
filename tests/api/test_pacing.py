"""The pacer alone, and many of them with a server that counts, in simulated time."""

from __future__ import annotations

import itertools
import operator
import random
import string
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from intercom_provider.api.pacing import MAX_DELAY_SECONDS, Pacer, Reservation, seconds_until_open, server_time
from tests.support.simulated import START, Server, Simulation

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_714_564_800.0  # 2024-05-01 12:00:00 UTC
DATE = "Wed, 01 May 2024 12:00:00 GMT"


def held(pacer: Pacer, now: float) -> float:
    """Ask for a request that is not made."""
    reservation = Reservation()
    try:
        return pacer.delay_for(reservation, now)
    finally:
        pacer.release(reservation)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 7 "}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "Wed, 01 May 2024 12:00:09 GMT"}, 9),
        ({"retry-after": "Wed, 01 May 2024 11:00:00 GMT"}, 0),
        ({"retry-after": "7", "x-ratelimit-reset": f"{NOW + 3:.0f}"}, 7),
        ({"retry-after": "soon", "x-ratelimit-reset": f"{NOW + 3:.0f}"}, 3),
        ({"x-ratelimit-reset": f"{NOW + 3:.0f}"}, 3),
        ({"x-ratelimit-reset": f"{NOW - 3:.0f}"}, 0),
        ({"x-ratelimit-reset": "soon"}, None),
        ({"retry-after": "\u00b2"}, None),
        ({"retry-after": "-7"}, None),
    ],
)
def test_a_reply_says_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert seconds_until_open(headers, NOW) == seconds
    assert seconds_until_open({"date": DATE, **headers}, NOW) == seconds


@pytest.mark.parametrize("wrong_by", [-3_600, -5, 5, 3_600])
def test_the_servers_clock_counts_not_this_machines(wrong_by: float) -> None:
    headers = {"date": DATE, "x-ratelimit-reset": f"{NOW + 4:.0f}"}
    assert seconds_until_open(headers, NOW + wrong_by) == 4
    assert server_time(headers, NOW + wrong_by) == NOW


def test_a_limit_with_room_holds_nothing_back() -> None:
    pacer = Pacer()
    pacer.observe(200, {}, NOW)
    pacer.observe(200, {"x-ratelimit-remaining": "1", "x-ratelimit-reset": f"{NOW + 5:.0f}"}, NOW)
    pacer.observe(200, {"x-ratelimit-remaining": "few", "x-ratelimit-reset": f"{NOW + 5:.0f}"}, NOW)
    pacer.observe(200, {"x-ratelimit-remaining": "0"}, NOW)
    assert held(pacer, NOW) == 0


def test_a_limit_that_is_used_up_holds_back_until_it_opens() -> None:
    pacer = Pacer()
    pacer.observe(200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{NOW + 5:.0f}"}, NOW)
    assert 5 <= held(pacer, NOW) <= 5.5
    assert 2 <= held(pacer, NOW + 3) <= 2.5
    assert held(pacer, NOW + 6) == 0


def test_a_late_reply_of_an_earlier_window_opens_nothing() -> None:
    pacer = Pacer()
    pacer.observe(200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{NOW + 9:.0f}"}, NOW)
    pacer.observe(200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{NOW + 1:.0f}"}, NOW)
    assert held(pacer, NOW) >= 9


@pytest.mark.parametrize("reset", ["99999999999999", "1714564800000", "inf", "1e308", "9" * 500])
def test_an_absurd_reset_holds_for_a_minute_and_not_for_ever(reset: str) -> None:
    pacer = Pacer()
    pacer.observe(200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}, NOW)
    assert held(pacer, NOW) == MAX_DELAY_SECONDS
    assert held(pacer, NOW + MAX_DELAY_SECONDS + 1) == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("budget", [None, 0.8])
def test_no_header_makes_it_fail_or_hold_longer_than_a_minute(seed: int, budget: float | None) -> None:
    chance = random.Random(seed)  # noqa: S311
    letters = string.digits + "-+.:, eGMTinfaWedMay\u00b2\u0663"
    pacer = Pacer(budget)
    now = NOW
    for _ in range(1_000):
        names = ("date", "retry-after", "x-ratelimit-limit", "x-ratelimit-reset", "x-ratelimit-remaining")
        headers = {name: "".join(chance.choices(letters, k=chance.randint(0, 20))) for name in names}
        if chance.random() < 0.5:
            headers |= {name: f"{chance.choice([-1e300, -NOW, -1, 0, 0.1, 1, 7, NOW, 1e300])}" for name in names[2:]}
        wait = seconds_until_open(headers, now)
        assert wait is None or wait >= 0
        pacer.observe(chance.choice([200, 404, 429, 500]), headers, now)
        assert 0 <= held(pacer, now) <= MAX_DELAY_SECONDS
        now += chance.uniform(-100, 100)


def test_threads_may_share_it() -> None:
    pacer = Pacer()

    def observe() -> None:
        for second in range(1_000):
            pacer.observe(200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{NOW + second % 30:.0f}"}, NOW)

    threads = [threading.Thread(target=observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 29 <= held(pacer, NOW) <= 29.5


@pytest.mark.parametrize("headers", [{}, {"x-ratelimit-remaining": "7", "x-ratelimit-limit": "100"}])
def test_a_429_closes_whatever_is_left(headers: dict[str, str]) -> None:
    pacer = Pacer()
    pacer.observe(429, headers, NOW)
    assert 0.5 <= held(pacer, NOW) <= 1
    pacer.observe(429, headers | {"x-ratelimit-reset": f"{NOW + 3:.0f}"}, NOW)
    assert 3 <= held(pacer, NOW) <= 3.5
    pacer.observe(429, headers | {"retry-after": "7"}, NOW)
    assert 7 <= held(pacer, NOW) <= 7.5
    pacer.observe(200, headers, NOW)
    assert held(pacer, NOW) >= 7


@pytest.mark.parametrize("budget", [0, -0.1, 1.01, float("nan")])
def test_a_budget_that_is_not_a_share_is_refused(budget: float) -> None:
    with pytest.raises(ValueError, match="budget"):
        Pacer(budget)


ANNOUNCED: Final = {"x-ratelimit-limit": "1000", "x-ratelimit-remaining": "999", "x-ratelimit-reset": f"{NOW + 10:.0f}"}


def _going(pacer: Pacer, now: float, turns: int = 50) -> int:
    """Count the requests that may go at once; they stay in flight."""
    return sum(pacer.delay_for(Reservation(), now) == 0 for _ in range(turns))


def test_one_request_goes_alone_until_the_limit_is_known() -> None:
    pacer = Pacer(0.8)
    assert _going(pacer, NOW) == 1
    assert _going(pacer, NOW + 20) == 0
    pacer.observe(200, {"date": DATE, **ANNOUNCED}, NOW + 0.1)
    assert 1 <= _going(pacer, NOW + 0.1) <= 9


@pytest.mark.parametrize("status", [None, 429, 502])
def test_another_request_goes_alone_when_the_first_one_learned_nothing(status: int | None) -> None:
    pacer = Pacer(0.8)
    reservation = Reservation()
    assert pacer.delay_for(reservation, NOW) == 0
    if status:
        pacer.observe(status, {}, NOW)
    assert _going(pacer, NOW + 1) == 0
    pacer.release(reservation)
    assert _going(pacer, NOW + 1) == 1


def test_nothing_is_spaced_where_no_limit_is_announced() -> None:
    pacer = Pacer(0.8)
    assert _going(pacer, NOW) == 1
    pacer.observe(200, {"date": DATE}, NOW)
    assert _going(pacer, NOW) == 50
    pacer.observe(200, {"date": DATE, **ANNOUNCED}, NOW)
    assert _going(pacer, NOW) < 5


def test_without_a_budget_nothing_is_spaced() -> None:
    pacer = Pacer()
    assert _going(pacer, NOW) == 50
    pacer.observe(200, {"date": DATE, **ANNOUNCED}, NOW)
    assert _going(pacer, NOW) == 50


def test_requests_with_a_share_are_spaced_and_others_are_not() -> None:
    pacer = Pacer()
    assert pacer.delay_for(Reservation(share=0.5), NOW) == 0
    assert pacer.delay_for(Reservation(share=0.5), NOW) > 0
    pacer.observe(200, {"date": DATE, **ANNOUNCED}, NOW)
    turns = [Reservation(share=0.5) for _ in range(100)]
    for reservation in turns:
        pacer.delay_for(reservation, NOW)
    moments = sorted(reservation.slot - NOW for reservation in turns if reservation.slot is not None)
    assert all(0.02 < later - before < 0.022 for before, later in itertools.pairwise(moments))
    assert _going(pacer, NOW) == 50


def test_waiting_requests_are_spaced_and_no_slot_is_far_ahead() -> None:
    pacer = Pacer(0.8)
    assert _going(pacer, NOW, turns=1) == 1
    pacer.observe(200, {"date": DATE, **ANNOUNCED}, NOW)
    turns = [Reservation() for _ in range(100)]
    waits = [pacer.delay_for(reservation, NOW) for reservation in turns]
    assert max(waits) <= 0.25
    moments = sorted(reservation.slot - NOW for reservation in turns if reservation.slot is not None)
    assert 18 <= len(moments) <= 20
    assert moments[-1] <= 0.25
    assert all(0.012 < later - before < 0.014 for before, later in itertools.pairwise(moments))


def test_slots_are_lost_when_the_window_closes_and_there_is_no_burst_when_it_opens() -> None:
    pacer = Pacer(0.8)
    pacer.observe(200, {"date": DATE, **ANNOUNCED}, NOW)
    turns = [Reservation() for _ in range(100)]
    assert sum(pacer.delay_for(reservation, NOW) == 0 for reservation in turns) <= 9
    pacer.observe(429, {"date": DATE, "retry-after": "2"}, NOW + 0.1)
    assert all(1.8 < pacer.delay_for(reservation, NOW + 0.2) < 2.1 for reservation in turns)
    assert sum(pacer.delay_for(reservation, NOW + 2.3) == 0 for reservation in turns) <= 9


def test_a_request_waits_for_its_own_due_time_first() -> None:
    pacer = Pacer(0.8)
    late = Reservation(due=NOW + 3)
    assert pacer.delay_for(late, NOW) == 3
    assert late.slot is None
    assert _going(pacer, NOW) == 1
    pacer.observe(429, {"retry-after": "5"}, NOW)
    assert 5 <= pacer.delay_for(late, NOW) <= 5.5


def test_a_closed_window_is_news_once_and_so_is_each_delay_of_a_request_itself() -> None:
    pacer = Pacer()
    turns = [Reservation(due=NOW + 9) for _ in range(20)]

    def news_count(now: float) -> int:
        for reservation in turns:
            assert pacer.delay_for(reservation, now) > 0
        return sum(reservation.news for reservation in turns)

    pacer.observe(429, {"retry-after": "7"}, NOW)
    assert [news_count(NOW), news_count(NOW + 1), news_count(NOW + 8)] == [1, 0, 0]
    pacer.observe(429, {"retry-after": "9"}, NOW + 8)
    pacer.observe(429, {"retry-after": "9"}, NOW + 8.1)
    assert [news_count(NOW + 8.2), news_count(NOW + 8.3)] == [1, 0]
    own = Reservation(due=NOW + 60)
    assert [pacer.delay_for(own, NOW + second) > 0 and own.news for second in (30, 31, 32)] == [True, False, False]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("threads", "latency"), [(50, 0.3), (100, 0.3), (20, 0.05)])
def test_alone_it_uses_its_budget_and_never_more(seed: int, threads: int, latency: float) -> None:
    server = Server(starts=3 * seed)
    simulation = Simulation(server, 60, seed)
    simulation.add_threads("a", Pacer(0.8), threads, latency=latency, clock=lambda now: now + 0.7 * seed - 1.5)
    simulation.run()
    for number in simulation.whole_windows():
        assert 0.95 * 0.8 * server.limit < server.by_owner["a", number] <= 0.8 * server.limit
    assert server.refused == 0


@pytest.mark.parametrize("limit", [1, 2, 7, 20, 83, 167, 500])
@pytest.mark.parametrize("budget", [0.1, 0.5, 0.8, 1.0])
def test_a_small_limit_is_kept_as_well(limit: int, budget: float) -> None:
    server = Server(limit=limit)
    simulation = Simulation(server, 60)
    simulation.add_threads("a", Pacer(budget), 5, latency=0.1, clock=lambda now: now + 0.4)
    simulation.run()
    for number in simulation.whole_windows():
        assert 0 <= server.by_owner["a", number] <= max(1, budget * limit)
    assert server.refused == 0
    assert server.by_owner.total() >= 5 * 0.9 * min(int(budget * limit), 5 / 0.1 * 10)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("limit", "pacers"), [(1667, 2), (1667, 3), (83, 2)])
def test_several_pacers_that_share_a_limit_use_it_up_and_rarely_exceed_it(seed: int, limit: int, pacers: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    server = Server(limit, starts=seed)
    simulation = Simulation(server, 60, seed)
    skews = [chance.uniform(-3, 3) for _ in range(pacers)]
    for number, skew in enumerate(skews):
        simulation.add_threads(f"{number}", Pacer(0.8), 50, clock=partial(operator.add, skew))
    simulation.run()
    for window in simulation.whole_windows():
        assert server.taken[window] > 0.95 * limit
        assert all(server.by_owner[f"{each}", window] > 0.8 / pacers * limit for each in range(pacers))
    assert server.refused < 0.005


def test_it_gives_way_to_programs_that_do_not_pace() -> None:
    server = Server()
    simulation = Simulation(server, 60)
    simulation.add_threads("paced", Pacer(0.8), 50)
    simulation.add_threads("free", Pacer(), 30)
    simulation.run()
    assert sum(server.by_owner["paced", window] for window in simulation.whole_windows()) > 0
    assert all(server.taken[window] > 0.95 * server.limit for window in simulation.whole_windows())
    assert server.refused_by_owner["paced"] < 0.01 * sum(server.by_owner["paced", window] for window in server.taken)


@pytest.mark.parametrize("window", [1, 2, 5, 30, 60])
def test_a_window_of_another_length_is_noticed(window: int) -> None:
    server = Server(limit=50 * window, window=window, starts=window // 3)
    simulation = Simulation(server, 6 * window)
    simulation.add_threads("a", Pacer(0.8), 20, latency=0.1)
    simulation.run()
    counts = [server.by_owner["a", number] for number in simulation.whole_windows()]
    assert max(counts) <= 40 * window
    assert min(counts[1:]) >= 0.9 * 40 * window
    assert server.refused == 0


def test_a_limit_that_changes_is_followed() -> None:
    server = Server()
    simulation = Simulation(server, 40)
    simulation.add_threads("a", Pacer(0.8), 50)
    simulation.run()
    server.limit = 300
    simulation.seconds = 80
    simulation.run()
    counts = [server.by_owner["a", number] for number in simulation.whole_windows()]
    assert counts[0] > 1200
    assert all(0.95 * 240 < count <= 240 for count in counts[-3:])


@pytest.mark.parametrize(
    "clock",
    [
        lambda now: now + (7.3 if now > START + 33 else 0),
        lambda now: now - (7.3 if now > START + 33 else 0),
        lambda now: now + (3600 if now > START + 33 else 0),
        lambda now: now - (3600 if now > START + 33 else 0),
        lambda now: now + (now - START) / 100,
    ],
)
def test_a_clock_that_is_set_or_wrong_costs_a_window_at_most(clock: Callable[[float], float]) -> None:
    server = Server()
    simulation = Simulation(server, 90)
    for owner in ("a", "b"):
        simulation.add_threads(owner, Pacer(0.8), 50, clock=clock)
    simulation.run()
    windows = simulation.whole_windows()
    assert sum(server.taken[window] < 0.95 * server.limit for window in windows) <= 1
    assert server.refused < 0.02


@pytest.mark.parametrize("headers", [{"x-ratelimit-reset": "5"}, {"x-ratelimit-reset": f"{NOW - 50:.0f}"}])
def test_requests_are_spaced_although_the_reset_never_comes_closer(headers: dict[str, str]) -> None:
    pacer = Pacer(0.8)
    sent = 0
    now = NOW
    while now < NOW + 30:
        reservation = Reservation()
        while hold := pacer.delay_for(reservation, now):
            now += hold
        sent += 1
        pacer.observe(200, ANNOUNCED | headers, now)
        pacer.release(reservation)
    assert 0.9 * 2_400 < sent <= 2_400


def test_a_pacer_is_asked_rarely_while_the_window_is_closed() -> None:
    server = Server(limit=1)
    simulation = Simulation(server, 10)
    simulation.add_threads("free", Pacer(), 100)
    simulation.run()
    assert simulation.asked < 100 * 10 * 5
