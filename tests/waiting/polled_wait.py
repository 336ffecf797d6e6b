"""A wait that is polled at the sandbox minute by minute, as the sensor and the trigger take turns at it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from intercom_provider.api.client import IntercomClient
from intercom_provider.api.errors import IntercomError
from intercom_provider.api.settings import Settings
from intercom_provider.waiting.criteria import Criteria
from intercom_provider.waiting.delivery_wait import DeliveryWait
from intercom_provider.waiting.poll import FullPoll
from intercom_provider.waiting.target import MAX_PENDING_A_POLL, MessagesTarget, RulesetTarget, resume_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from intercom_provider.sandbox import Sandbox
    from intercom_provider.waiting.poll import PartialPoll, SeenStatus
    from intercom_provider.waiting.statuses import Summary
    from intercom_provider.waiting.target import Target
    from tests.support.hostile import Hostile

START = 1_800_000_000.0
LATER = START + 100_000_000


class PolledWait:
    """
    A wait of which only the state, as JSON, is left between two polls.

    :param server: The server that it polls.
    :param target: The messages.
    :param deferrable: Whether the trigger does the polls after the first.
    """

    def __init__(self, server: Sandbox | Hostile, target: Target, *, deferrable: bool = True, **criteria: Any) -> None:
        self.target = target
        self.criteria = Criteria(**criteria)
        self.deferrable = deferrable
        self.now = START
        self.state: Any = None
        self.line = ""
        self.progress_values: dict[str, Any] = {}
        self.found: FullPoll | PartialPoll | None = None
        self.seen: list[SeenStatus] = []
        self.wants: Callable[[str], bool] = lambda _: True
        self.needs_details: Callable[[str], bool] = lambda _: False
        self.max_pending_a_poll = MAX_PENDING_A_POLL
        self._server = server
        self._counted = len(server.requests)
        self._settings = Settings(token=server.token, base_url=server.url)

    def poll(self, *, full: bool = False, may_stop_early: bool | None = None) -> str:
        """Poll a minute later."""
        self.now += 60
        wait = DeliveryWait(target=self._new_target(), criteria=self.criteria, started=START, deadline=LATER)
        if self.state is not None:
            wait.resume(json.loads(json.dumps(self.state)))
        self.seen = []
        may_stop_early = self.deferrable and self.state is not None if may_stop_early is None else may_stop_early
        poll = wait.poll(self.now, self, full=full, may_stop_early=may_stop_early)
        try:
            with IntercomClient(self._settings) as client:
                found = client.run(poll)
        except IntercomError as error:
            verdict = wait.poll_failed(error, self.now)
        else:
            verdict = wait.update(found, self.now)
            self.found = found
            self.line, self.progress_values = wait.progress(found, self.now), wait.progress_values(found)
        self.state = wait.state()
        if verdict == "settled" and may_stop_early and not full:
            # The trigger's event wakes the sensor, which polls in full.
            self.now -= 60
            return self.poll(full=True)
        return verdict

    def add(self, seen: SeenStatus) -> None:
        """Record a status."""
        self.seen.append(seen)

    @property
    def requests(self) -> int:
        """How many requests there were since this was read last."""
        before, self._counted = self._counted, len(self._server.requests)
        return self._counted - before

    @property
    def summary(self) -> Summary:
        """The counts of the last poll, which was a full one."""
        assert isinstance(self.found, FullPoll)
        return self.found.summary

    def _new_target(self) -> Target:
        arguments = json.loads(json.dumps(self.target.arguments()))
        if isinstance(self.target, RulesetTarget):
            return resume_target(arguments)
        return MessagesTarget(**arguments, max_pending_a_poll=self.max_pending_a_poll)
