from __future__ import annotations

from statistics import fmean
from typing import Any

import pytest

from intercom_provider.triggers.schedule import first_poll, next_poll, phase_for

NOW = 1_714_564_800.0
PHASES = [phase_for("intercom_default", str(ruleset)) for ruleset in range(1_000)]
intervals = pytest.mark.parametrize("interval", [0.1, 1.0, 10.0, 15.0, 60.0, 3_600.0])


def test_the_same_names_have_the_same_phase_and_others_are_spread_evenly() -> None:
    assert phase_for("a", "77") == phase_for("a", "77")
    assert (
        len({phase_for("a", "77"), phase_for("b", "77"), phase_for("a", "78"), phase_for("a7", "7"), phase_for("a")})
        == 5
    )
    tenths = [sum(tenth <= phase * 10 < tenth + 1 for phase in PHASES) for tenth in range(10)]
    assert sum(tenths) == 1_000
    assert all(60 <= number <= 140 for number in tenths)


@intervals
def test_a_thousand_triggers_that_start_together_are_spread_over_an_interval(interval: float) -> None:
    waits = [first_poll(NOW, interval, phase) - NOW for phase in PHASES]
    shortest = max(interval / 2, min(interval, 10.0))
    assert shortest - 1e-6 <= min(waits)
    assert max(waits) <= shortest + interval + 1e-6
    assert fmean(waits) == pytest.approx(shortest + interval / 2, rel=0.1)
    busiest = max(sum(begin <= wait < begin + interval / 20 for wait in waits) for begin in waits)
    assert busiest < 100


@intervals
def test_after_the_first_poll_there_is_one_interval_between_two_polls(interval: float) -> None:
    moment = first_poll(NOW, interval, 0.3)
    for update in (0.0, 0.1, 0.4):
        following = next_poll(moment + update * interval, interval, 0.3)
        assert following - moment == pytest.approx(interval, abs=1e-5)
        moment = following


def test_a_long_poll_is_not_followed_at_once() -> None:
    moment = first_poll(NOW, 60.0, 0.3)
    ended = moment + 50.0
    assert 30.0 <= next_poll(ended, 60.0, 0.3) - ended <= 90.0


@intervals
def test_triggers_with_the_same_phase_poll_together_whenever_they_began(interval: float) -> None:
    first = {round(first_poll(NOW + began * interval / 10, interval, 0.3) / interval % 1, 3) % 1 for began in range(10)}
    assert first == {0.3}


@pytest.mark.parametrize("next_time", [first_poll, next_poll])
def test_polls_come_after_not_before_and_not_all_at_once(next_time: Any) -> None:
    polls = [next_time(NOW, 60.0, phase, not_before=NOW + 100.0) for phase in PHASES]
    assert min(polls) >= NOW + 100.0
    assert max(polls) <= NOW + 160.0
    assert len({round(poll) for poll in polls}) > 50
