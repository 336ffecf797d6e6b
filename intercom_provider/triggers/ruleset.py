"""The trigger of an AssetWatcher that starts DAGs when a WhatsApp broadcast has settled."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any, Final

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from intercom_provider.api.errors import IntercomError, InvalidInputError, Problem
from intercom_provider.api.values import is_missing
from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.fields import (
    MIN_INTERVAL_SECONDS,
    check_status_version,
    parse_limit,
    read_created_after,
    read_expected_count,
    read_seconds,
)
from intercom_provider.triggers.schedule import first_poll, next_poll, phase_for
from intercom_provider.waiting.sent import read_ruleset_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime, timedelta

    from intercom_provider.fields import Limit, WaitFor
    from intercom_provider.waiting.delivery_wait import DeliveryWait
    from intercom_provider.waiting.statuses import Summary

_MAX_PAUSE_SECONDS: Final = 3_600.0
# A reply that another trigger got within this share of the interval is used again.
_FRESH_SHARE: Final = 0.25


class RulesetSettledTrigger(BaseEventTrigger):
    """
    Fires when all WhatsApp messages of a ruleset have settled, and again when more messages were sent and have settled.

    It never ends: it logs errors and polls again. It stores in Airflow's asset state store for how many messages it has
    fired, so that it fires once, also after a restart of the triggerer. Airflow before 3.3 has no such store: there, a
    ruleset that has settled before the trigger's first poll fires nothing.

    The event's payload: ``ruleset_id``, ``total``, and ``reached``, ``pending`` and ``failed``, which add up to it;
    ``delivered``, ``read``. All arguments have to be the same whenever the DAG is parsed, and cannot be templates.

    :param ruleset_id: The id of a WhatsApp Outbound message that was made in Intercom.
    :param wait_for: ``delivered`` (default; read counts too) or ``read``, which may never come.
    :param expected_count: How many messages there will be; None (default) when that is unknown.
    :param settle_for: Seconds for which a ruleset of unknown size must not have grown (default 600).
    :param max_pending: How many may be pending: a number (default 0), a share between 0 and 1, None for any.
    :param created_after: Only events from then on count: a time, or None (default).
    :param poke_interval: Seconds between two polls (default 60).
    :param api_version: API version in place of the connection's; None (default) for the connection's.
    :param intercom_conn_id: The connection (default ``intercom_default``).
    :raises InvalidFieldError: When an argument is wrong; raised as the DAG is parsed.
    """

    def __init__(
        self,
        ruleset_id: str | int,
        *,
        wait_for: WaitFor = "delivered",
        expected_count: int | None = None,
        settle_for: float | timedelta = 600,
        max_pending: Limit = 0,
        created_after: float | str | datetime | None = None,
        poke_interval: float = 60,
        api_version: str | None = None,
        intercom_conn_id: str = "intercom_default",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow has no annotation here
        problems: list[Problem] = []

        def take(read: Callable[[], Any]) -> Any:
            try:
                return read()
            except InvalidInputError as error:
                problems.extend(error.problems)

        self.ruleset_id: str = take(lambda: _ruleset_id(ruleset_id))
        self.wait_for = wait_for
        self.expected_count: int | None = take(lambda: read_expected_count(expected_count))
        self.settle_for: float = take(lambda: read_seconds("settle_for", settle_for))
        self.max_pending: Limit = take(lambda: parse_limit("max_pending", max_pending))
        self.created_after: float | None = take(lambda: read_created_after(created_after))
        self.poke_interval: float = take(lambda: read_seconds("poke_interval", poke_interval, above=0))
        self.api_version = api_version
        self.intercom_conn_id = intercom_conn_id
        take(lambda: check_status_version(api_version))
        if wait_for not in ("delivered", "read"):
            problems.append(Problem("wait_for", "must be one of delivered, read"))
        if problems:
            raise InvalidFieldError(str(InvalidInputError(problems)))
        self._settled_total: int | None = None
        self._fired_for = 0
        self._has_polled = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """
        Return what Airflow stores to run the trigger, and by which it distinguishes watchers.

        :return: The class's path and its arguments.
        """
        return (
            "intercom_provider.triggers.ruleset.RulesetSettledTrigger",
            {
                "ruleset_id": self.ruleset_id,
                "wait_for": self.wait_for,
                "expected_count": self.expected_count,
                "settle_for": self.settle_for,
                "max_pending": self.max_pending,
                "created_after": self.created_after,
                "poke_interval": self.poke_interval,
                "api_version": self.api_version,
                "intercom_conn_id": self.intercom_conn_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Poll without an end.

        :return: An event each time that the ruleset has settled with more messages than before.
        """
        wait, interval = self._begin(), max(self.poke_interval, MIN_INTERVAL_SECONDS)
        phase, failures = phase_for(self.intercom_conn_id, self.ruleset_id), 0
        moment = first_poll(time.time(), interval, phase)
        await self._check_store(wait)
        while True:
            await asyncio.sleep(max(0.0, moment - time.time()))
            wait.follow_clock()
            try:
                settled = await self._poll(wait)
                is_new = settled is not None and settled.total > await self._last_fired(wait)
            except Exception as error:  # noqa: BLE001 - Airflow would start it again, without its memory
                failures, self._settled_total = failures + 1, None
                moment = self._after_failure(wait, error, failures, interval)
                continue
            failures = 0
            moment = next_poll(time.time(), interval, phase, wait.not_before)
            if settled is not None and is_new:
                self.log.info("%s has settled: %s", wait, wait.criteria.progress(settled))
                payload = {"ruleset_id": self.ruleset_id, **wait.criteria.counts(settled)}
                yield TriggerEvent(payload)  # type: ignore[no-untyped-call]
                await self._remember(wait, settled)

    def _begin(self) -> DeliveryWait:
        from intercom_provider.waiting.criteria import Criteria
        from intercom_provider.waiting.delivery_wait import DeliveryWait
        from intercom_provider.waiting.target import RulesetTarget

        return DeliveryWait(
            target=RulesetTarget(self.ruleset_id, self.created_after),
            criteria=Criteria(
                wait_for=self.wait_for,
                expected_count=self.expected_count,
                settle_for=self.settle_for,
                max_pending=self.max_pending,
                max_failed=None,
            ),
            started=time.time(),
            deadline=math.inf,
        )

    async def _poll(self, wait: DeliveryWait) -> Summary | None:
        """Poll once; return the counts when the ruleset is settled, None when it is not or has not changed since."""
        from intercom_provider.api import calls
        from intercom_provider.hooks.intercom import IntercomHook
        from intercom_provider.triggers.shared_client import shared_client

        # Read the connection for each poll, because its token may be replaced meanwhile.
        settings = await IntercomHook(self.intercom_conn_id, api_version=self.api_version).aget_settings()
        check_status_version(settings.api_version)
        fresh_for = _FRESH_SHARE * self.poke_interval
        async with shared_client(settings, shared_key=self.ruleset_id, fresh_for=fresh_for) as client:
            first, _ = wait.limits(time.time())
            announced = (await client.run(calls.Pages(self.ruleset_id).read(first))).total_count
            if announced is not None and announced == self._settled_total:
                # All messages had settled and there are no more, so the other pages need not be read.
                return None
            found = await client.run(wait.poll(time.time()))
        verdict = wait.update(found, time.time())
        self.log.info("%s", wait.progress(found, time.time()))
        await self._note_first(wait)
        self._settled_total = announced if verdict == "settled" else None
        return wait.summary if verdict == "settled" else None

    async def _note_first(self, wait: DeliveryWait) -> None:
        """Count a ruleset that had settled before the first poll as fired for, when there is no store."""
        if self._has_polled or wait.summary is None:
            return
        self._has_polled = True
        allowed = wait.criteria.pending_allowed(wait.summary.total)
        if self._store is None and wait.criteria.pending(wait.summary) <= allowed:
            self._fired_for = wait.summary.total

    def _after_failure(self, wait: DeliveryWait, error: Exception, failures: int, interval: float) -> float:
        pause = min(interval * 2.0 ** min(failures - 1, 10), max(interval, _MAX_PAUSE_SECONDS))
        if isinstance(error, IntercomError) and error.transient:
            wait.poll_failed(error, time.time(), None)
        elif isinstance(error, IntercomError):
            self.log.error("%s: the poll failed, the next one is in %.0f s: %s", wait, pause, error)
        else:
            self.log.error("%s: the poll failed, the next one is in %.0f s", wait, pause, exc_info=error)
        return max(time.time() + pause, wait.not_before)

    async def _check_store(self, wait: DeliveryWait) -> None:
        try:
            await self._last_fired(wait)
        except ValueError:
            # The store belongs to one asset, and Airflow does not say for which of several assets this trigger runs.
            self.log.warning("%s is watched for several assets, so nothing is stored: give each its own trigger", wait)
            self.asset_state_store = None
        except Exception as error:  # noqa: BLE001 - the store is read again before an event
            self.log.warning("%s: Airflow's asset state store cannot be read yet: %s", wait, type(error).__name__)

    @property
    def _store(self) -> Any:
        # Airflow sets this on the triggers of watchers, from 3.3 on.
        return getattr(self, "asset_state_store", None)

    def _key(self, wait: DeliveryWait) -> str:
        return f"intercom_settled_{wait.target.digest}_{self.wait_for}"

    async def _last_fired(self, wait: DeliveryWait) -> int:
        if self._store is None:
            return self._fired_for
        known = await self._store.aget(self._key(wait))
        total = known.get("total") if isinstance(known, dict) else None
        return max(self._fired_for, total if isinstance(total, int) else 0)

    async def _remember(self, wait: DeliveryWait, settled: Summary) -> None:
        self._fired_for = settled.total
        if self._store is None:
            return
        try:
            await self._store.aset(self._key(wait), {"total": settled.total, "at": int(time.time())})
        except Exception:
            self.log.exception("%s: the event could not be stored; it fires again after a restart", wait)


def _ruleset_id(value: object) -> str:
    if is_missing(value):
        raise InvalidInputError.of("ruleset_id", "is missing")
    if "{{" in str(value):
        raise InvalidInputError.of(
            "ruleset_id", "is a template, but Airflow does not render templates of watchers: give the id"
        )
    return read_ruleset_id(value) or ""
