"""The operator that sends many messages in one task."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.sdk import BaseOperator

from intercom_provider.api.characters import strip_invisible
from intercom_provider.api.errors import InvalidInputError, Problem
from intercom_provider.api.values import is_missing
from intercom_provider.api.version import parse_api_version
from intercom_provider.compat import add_to_outlet_events, is_unmapped, push_before_raising
from intercom_provider.exceptions import InvalidFieldError, as_airflow_errors
from intercom_provider.fields import (
    DUPLICATES,
    INVALID,
    UNSUBSCRIBED,
    Duplicates,
    Invalid,
    Limit,
    Unsubscribed,
    check_budget,
    check_concurrency,
    check_max_messages,
    check_total,
    is_path,
    is_untemplated,
    parse_limit,
    replace_undefined,
)
from intercom_provider.links import DeliveryLink, IntercomLink, inbox_url, show_link
from intercom_provider.operators.hidden_input import hide, is_list, reveal
from intercom_provider.sending.held_timeout import HeldTimeout
from intercom_provider.sending.options import SendOptions, find_problems, read_options
from intercom_provider.sending.task_instance import begin_in_store, begin_in_table, defer_until, read_attempt
from intercom_provider.sending.window import check_outlives_deferral, read_hours
from intercom_provider.templates import explain_templates, find_foreign_placeholders

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, time, timedelta

    import jinja2
    from airflow.sdk import Context

    from intercom_provider.ledger.ledger import Ledger, OnUnconfirmed, Repeat
    from intercom_provider.results.reader import Owner
    from intercom_provider.sending.batch.legs import Legs
    from intercom_provider.sending.batch.summary import BatchSummary

# The fields that hold people, and what their entries are.
_PEOPLE: Final = {"messages": "messages", "suppress": "keys and recipients"}


class SendMessageBatchOperator(BaseOperator):
    """
    Send many messages in one task, at the rate limit, each of them once.

    The whole input is checked before the first message is sent. A ledger records each message that was sent: a
    retry, also after a killed worker, sends only the others. Uses
    https://developers.intercom.com/docs/references/rest-api/api.intercom.io/messages/createmessage.

    XCom, each key on its own and pushed even when the task fails: ``total``; ``sent``, ``already_sent``, ``claimed``,
    ``rejected``, ``not_sent``, ``unconfirmed``, ``expired``, ``suppressed``, ``duplicates``, ``dry_run`` (they
    add up to ``total``); ``reasons`` (at most ten, with counts), ``whatsapp_message_ids`` (complete, or None above
    1,000), ``results_path``, ``results_try``. While it runs, ``progress`` has the counts so far.

    ``defaults``, paths and URIs are templates; the messages themselves never are.

    :param messages: A list of messages (also another task's output), each a mapping of the fields of
        :class:`SendMessageOperator`; or a path or URI of JSON Lines on object storage (templated). A message may
        carry ``params``, from which ``${name}`` in its texts and those of the defaults is filled.
    :param defaults: Fields for the messages that leave them out (templated).
    :param max_failed: How many messages may be rejected, not sent, expired or unconfirmed: a number (default 0), a
        share between 0 and 1, None for any.
    :param max_messages: How many messages the input may have; a longer one is refused whole. None (default) for any.
    :param suppress: Who must not be messaged: a list of keys and recipients, or the path or URI of a file with one a
        line; None (default) for nobody (templated).
    :param unsubscribed: What to do with emails and SMS to contacts who have unsubscribed: ``send`` (default) leaves it
        to Intercom, ``skip`` looks the contacts up before the first message.
    :param invalid: What to do with a message that is wrong: ``fail`` (default), which sends none at all, or ``reject``:
        it counts as ``rejected``, with its reason in the results, and the others are sent.
    :param duplicates: What to do with a message that is in the input twice: ``skip`` (default), ``send``, ``fail``.
    :param budget: The share of the rate limit that this task may use (default 0.8).
    :param concurrency: How many requests are in flight at most; None (default) for as many as it takes.
    :param results_path: A folder on object storage for one line per message (templated); None (default) for none.
    :param contact_wait: Seconds for which a contact that was just created may be missing (default 30).
    :param not_after: The last moment at which a message may be sent; None (default) for no limit (templated).
    :param repeat: When the same task may send again: ``never`` (default), ``on_clear``, ``always`` (templated).
    :param on_unconfirmed: What to do with an earlier try's messages without a known outcome: ``fail`` (default),
        ``resend``, ``assume_sent`` (templated).
    :param campaign: The campaign within which a message goes out once, whichever task, run or DAG sends it; None
        (default) for this task in its run. Needs a ledger in a database (templated).
    :param repeat_after: After what time a message of the campaign may go out again: a timedelta, ``7d``, ``12h``;
        None (default) for never. Whole days count calendar days (templated).
    :param ledger_conn_id: The connection of the database with the ledger, PostgreSQL or SQLite; None (default) for
        ``[intercom] ledger_conn_id``, else for Airflow's task state store (templated).
    :param send_window: The local times between which messages go out, such as ``("09:00", "20:00")``, in the
        ``timezone`` of each message; None (default) for any time. The others wait, and no worker with them. Needs a
        ledger.
    :param timezone: The time zone of messages that have none, and of whole days, an IANA name; None (default) for UTC,
        and for no message without one where there is a window (templated).
    :param api_version: Replaces the connection's API version (templated).
    :param intercom_conn_id: The connection (default ``intercom_default``; templated).
    :param multiple_outputs: Whether each XCom key is pushed on its own (default True).
    :raises InvalidFieldError: When a field or a message is wrong; nothing was sent.
    :raises DeliveryFailedError: When more than ``max_failed`` failed, for good.
    :raises AirflowException: When more than ``max_failed`` failed, and a retry may send some of them.
    :raises IntercomRefusedError: When Intercom refuses every message (401, 403, version); not retried.
    :raises IntercomError: When nothing can be sent for a reason that may pass; Airflow retries.
    """

    template_fields: ClassVar[Sequence[str]] = (  # type: ignore[misc]
        "messages",
        "defaults",
        "suppress",
        "results_path",
        "not_after",
        "repeat",
        "on_unconfirmed",
        "campaign",
        "repeat_after",
        "ledger_conn_id",
        "timezone",
        "api_version",
        "intercom_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"defaults": "json"}
    operator_extra_links = (IntercomLink(), DeliveryLink())
    ui_color = "#d3dff4"

    def __init__(
        self,
        *,
        messages: Any,
        defaults: Mapping[str, Any] | str | None = None,
        max_failed: Limit = 0,
        max_messages: int | None = None,
        suppress: Any = None,
        unsubscribed: Unsubscribed = "send",
        invalid: Invalid = "fail",
        duplicates: Duplicates = "skip",
        budget: float = 0.8,
        concurrency: int | None = None,
        results_path: str | None = None,
        contact_wait: float = 30,
        not_after: float | str | datetime | None = None,
        repeat: Repeat | str = "never",
        on_unconfirmed: OnUnconfirmed | str = "fail",
        campaign: str | None = None,
        repeat_after: timedelta | str | None = None,
        ledger_conn_id: str | None = None,
        send_window: Sequence[str | time] | None = None,
        timezone: str | None = None,
        api_version: str | None = None,
        intercom_conn_id: str = "intercom_default",
        multiple_outputs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)
        self.messages = messages
        self.defaults = defaults
        self.max_failed = max_failed
        self.max_messages = max_messages
        self.suppress = suppress
        self.unsubscribed = unsubscribed
        self.invalid = invalid
        self.duplicates = duplicates
        self.budget = budget
        self.concurrency = concurrency
        self.results_path = results_path
        self.contact_wait = contact_wait
        self.not_after = not_after
        self.repeat = repeat
        self.on_unconfirmed = on_unconfirmed
        self.campaign = campaign
        self.repeat_after = repeat_after
        self.ledger_conn_id = ledger_conn_id
        self.send_window = send_window
        self.timezone = timezone
        self.api_version = api_version
        self.intercom_conn_id = intercom_conn_id
        # A template that renders to nothing must not let everybody through.
        self._has_suppress = suppress is not None
        self._killed = self._is_resumed = False
        self._ledger: Ledger | None = None
        if not is_unmapped(self):
            self._check_literals()

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Render the fields that the DAG author wrote; lists of people are customers' data, not code."""
        if parent is self:
            # Before anything else can go wrong in this try.
            self._ledger = begin_in_store(context, self.log)
            lists = {name for name in _PEOPLE if is_list(getattr(self, name))}
            template_fields = [name for name in template_fields if name not in lists]
        if parent is not self:
            super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        else:
            # What is in seen_oids another task has returned, and Airflow does not render it.
            rendered = {name: value for name in template_fields if id(value := getattr(self, name)) not in seen_oids}
            with as_airflow_errors(), explain_templates(rendered, jinja_env):
                super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
            with as_airflow_errors():
                replace_undefined(self, jinja_env)
            for name, noun in _PEOPLE.items():
                # Airflow stores rendered fields and shows them in its UI.
                setattr(self, name, hide(getattr(self, name), noun))

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Send the messages that the ledger does not record as sent.

        :param context: The task's context.
        :return: The batch's XCom, key by key.
        """
        from intercom_provider.sending.batch.legs import count_waiting

        with as_airflow_errors(), count_waiting(self, context, self._is_resumed or self.send_window is not None):
            ledger, self._ledger = self._ledger or begin_in_store(context, self.log), None
            return self._send(context, ledger)

    def execute_in_window(self, context: Context, event: object = None) -> dict[str, Any]:  # noqa: ARG002 - Airflow passes it
        """
        Go on once a window has opened, where the try was deferred.

        :param context: The task's context.
        :param event: The trigger's event.
        :return: The batch's XCom, key by key.
        """
        self._is_resumed = True
        return self.execute(context)

    def on_kill(self) -> None:
        """Stop the batch before its next request."""
        self._killed = True

    def _send(self, context: Context, ledger: Ledger) -> dict[str, Any]:
        from intercom_provider.hooks.intercom import IntercomHook
        from intercom_provider.results.reader import Owner
        from intercom_provider.results.writer import ResultsWriter
        from intercom_provider.sending.batch.input import BatchInput
        from intercom_provider.sending.batch.legs import Legs
        from intercom_provider.sending.batch.summary import BatchSummary
        from intercom_provider.sending.batch.suppression import Suppression
        from intercom_provider.sending.batch.window import read_batch_window
        from intercom_provider.sending.sender import check_senders

        self._check()
        options = read_options(self)._replace(budget=self.budget, concurrency=self.concurrency)
        ti = context["ti"]
        instance = Owner(ti.dag_id, str(ti.run_id), ti.task_id, -1 if ti.map_index is None else ti.map_index)
        results = ResultsWriter(self._folder(instance), read_attempt(context).number, instance)
        settings = IntercomHook(self.intercom_conn_id, api_version=self.api_version).settings
        show_link(context, inbox_url(settings))
        held_timeout = HeldTimeout()

        def stopped() -> bool:
            return self._killed or held_timeout.timed_out

        if options.ledger_conn_id is not None and not settings.dry_run:
            ledger = begin_in_table(context, options, stopped)
        window = read_batch_window(self.send_window, self.timezone)
        if window is not None and not settings.dry_run:
            check_outlives_deferral(ledger)
        with (
            self._ask_others(ledger, options, dry_run=settings.dry_run),
            BatchInput(
                reveal(self.messages),
                self.defaults,
                duplicates=self.duplicates,
                invalid=self.invalid,
                salt=ledger.salt,
                settings=settings,
                needs_timezone=window is not None and window.needs_timezone,
            ) as batch,
        ):
            total = batch.check()
            check_total(total, self.max_messages)
            suppression = Suppression("" if self._has_suppress and self.suppress is None else reveal(self.suppress))
            if not total:
                self.log.warning("There are no messages: nothing is sent")
            if settings.dry_run:
                self.log.warning("The connection has dry_run set: everything is checked, nothing is sent")
            elif total:
                check_senders(settings, batch.senders, stopped)
            legs = Legs(
                context,
                batch,
                total,
                is_resumed=self._is_resumed,
                results=results,
                settings=settings,
                options=options,
                ledger=ledger,
                stopped=stopped,
                reason_to_suppress=suppression.reason,
                window=None if settings.dry_run else window,
            )
            if total and strip_invisible(self.unsubscribed) == "skip":
                suppression.look_up_contacts(
                    legs.rest, settings=settings, options=options, ledger=ledger, stopped=lambda: self._killed
                )
            summary = BatchSummary(
                legs.record.counts,
                results,
                max_failed=parse_limit("max_failed", self.max_failed),
                on_unconfirmed=options.on_unconfirmed,
                numbered_by=batch.numbered_by,
            )
            return self._run_legs(context, legs, summary, ledger, held_timeout)

    def _run_legs(
        self, context: Context, legs: Legs, summary: BatchSummary, ledger: Ledger, held_timeout: HeldTimeout
    ) -> dict[str, Any]:
        """Send what may go out; defer while the rest waits for a window, and judge the batch at its end."""
        try:
            with held_timeout:
                opens_at = legs.run()
                if opens_at is not None:
                    legs.suspend(opens_at)
            if opens_at is None:
                summary.raise_failure(legs.fatal)
        except BaseException as error:
            legs.end()
            # A try that Airflow took for dead, but that lives, must not overwrite the XCom of the next one.
            if ledger.is_current():
                summary.log_failure(error)
                push_before_raising(self, context, summary.values())
            raise
        if opens_at is not None:
            push_before_raising(self, context, summary.values())
            defer_until(self, opens_at)
        add_to_outlet_events(self, context, summary.counts)
        return summary.values()

    @contextmanager
    def _ask_others(self, ledger: Ledger, options: SendOptions, *, dry_run: bool) -> Iterator[None]:
        """Include what other mapped instances have sent, and publish at the end what was sent here."""
        try:
            if options.repeat != "always" and not dry_run:
                ledger.include_mapped_instances()
            yield
        finally:
            ledger.end_try()

    def _folder(self, instance: Owner) -> str | None:
        if is_missing(self.results_path):
            return None
        return "/".join([str(self.results_path).strip().rstrip("/"), *map(str, instance)])

    def _check_literals(self) -> None:
        """Check what is known when the DAG is parsed; the rest is checked when the task runs."""
        lazy = {name for name in self.template_fields if not is_untemplated(getattr(self, name, None))}
        self._check(lazy)
        if problems := list(find_foreign_placeholders("defaults", self.defaults)):
            raise InvalidFieldError(str(InvalidInputError(problems)))
        from intercom_provider.sending.batch.input import check_literals

        try:
            check_literals(self.messages, self.defaults, invalid=self.invalid)
            if self._has_suppress and "suppress" not in lazy:
                from intercom_provider.sending.batch.suppress_list import check_suppress

                check_suppress(self.suppress)
        except InvalidInputError as error:
            raise InvalidFieldError(str(error)) from None

    def _check(self, lazy: Collection[str] = ()) -> None:
        if problems := list(self._problems(lazy)):
            raise InvalidFieldError(str(InvalidInputError(problems)))

    def _problems(self, lazy: Collection[str]) -> Iterator[Problem]:
        choices = {"duplicates": DUPLICATES, "invalid": INVALID, "unsubscribed": UNSUBSCRIBED}
        yield from find_problems(self, choices, lazy)
        checks: list[Callable[[], object]] = [
            lambda: check_budget(self.budget),
            lambda: check_concurrency(self.concurrency),
            lambda: parse_limit("max_failed", self.max_failed),
            lambda: check_max_messages(self.max_messages),
            lambda: read_hours(self.send_window),
        ]
        if "api_version" not in lazy and not is_missing(self.api_version):
            checks.append(lambda: parse_api_version(self.api_version))
        for check in checks:
            try:
                check()
            except InvalidInputError as error:
                yield from error.problems
        if "results_path" not in lazy and not is_missing(self.results_path) and not is_path(self.results_path):
            yield Problem("results_path", "must be the path or URI of a folder")
