from __future__ import annotations

import random
import string
import threading

import pytest

from intercom_provider.api.pacing import LONGEST_HOLD, Pacer, Turn, seconds_until_open, server_time

NOW = 1_714_564_800.0  # 2024-05-01 12:00:00 UTC
DATE = "Wed, 01 May 2024 12:00:00 GMT"


def held(pacer: Pacer, now: float) -> float:
    """Ask for a request that is not made."""
    turn = Turn()
    try:
        return pacer.hold(turn, now)
    finally:
        pacer.end(turn)


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
    pacer.heard(200, {}, NOW)
    pacer.heard(200, {"x-ratelimit-remaining": "1", "x-ratelimit-reset": f"{NOW + 5:.0f}"}, NOW)
    pacer.heard(200, {"x-ratelimit-remaining": "few", "x-ratelimit-reset": f"{NOW + 5:.0f}"}, NOW)
    pacer.heard(200, {"x-ratelimit-remaining": "0"}, NOW)
    assert held(pacer, NOW) == 0


def test_a_limit_that_is_used_up_holds_back_until_it_opens() -> None:
    pacer = Pacer()
    pacer.heard(200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{NOW + 5:.0f}"}, NOW)
    assert 5 <= held(pacer, NOW) <= 5.5
    assert 2 <= held(pacer, NOW + 3) <= 2.5
    assert held(pacer, NOW + 6) == 0


def test_a_late_reply_of_an_earlier_window_opens_nothing() -> None:
    pacer = Pacer()
    pacer.heard(200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{NOW + 9:.0f}"}, NOW)
    pacer.heard(200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{NOW + 1:.0f}"}, NOW)
    assert held(pacer, NOW) >= 9


@pytest.mark.parametrize("reset", ["99999999999999", "1714564800000", "inf", "1e308", "9" * 500])
def test_an_absurd_reset_holds_for_a_minute_and_not_for_ever(reset: str) -> None:
    pacer = Pacer()
    pacer.heard(200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}, NOW)
    assert held(pacer, NOW) == LONGEST_HOLD
    assert held(pacer, NOW + LONGEST_HOLD + 1) == 0


@pytest.mark.parametrize("seed", range(4))
def test_no_header_makes_it_fail_or_hold_longer_than_a_minute(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    letters = string.digits + "-+.:, eGMTinfaWedMay\u00b2\u0663"
    pacer = Pacer()
    for _ in range(1_000):
        names = ("date", "retry-after", "x-ratelimit-reset", "x-ratelimit-remaining")
        headers = {name: "".join(chance.choices(letters, k=chance.randint(0, 20))) for name in names}
        wait = seconds_until_open(headers, NOW)
        assert wait is None or wait >= 0
        pacer.heard(200, headers, NOW)
        assert 0 <= held(pacer, NOW) <= LONGEST_HOLD


def test_threads_may_share_it() -> None:
    pacer = Pacer()

    def hear() -> None:
        for second in range(1_000):
            pacer.heard(200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{NOW + second % 30:.0f}"}, NOW)

    threads = [threading.Thread(target=hear) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 29 <= held(pacer, NOW) <= 29.5
