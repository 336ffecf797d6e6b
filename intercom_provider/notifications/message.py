"""The notifier, which alerts a person by an Intercom message."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

from airflow.sdk import BaseNotifier

from intercom_provider.api.errors import (
    ExpiredError,
    IntercomError,
    InvalidInputError,
    Problem,
    StoppedError,
    UnconfirmedError,
)
from intercom_provider.api.message import MESSAGE_FIELDS, parse_message
from intercom_provider.api.values import is_missing
from intercom_provider.compat import AirflowException
from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.fields import is_untemplated
from intercom_provider.ledger.stateless import StatelessLedger
from intercom_provider.notifications.alert import Alert, read_alert, to_text, without_secrets
from intercom_provider.sending.options import SendOptions
from intercom_provider.sending.task_instance import read_attempt
from intercom_provider.templates import find_foreign_placeholders

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    import jinja2
    from airflow.sdk import DAG, Context

    from intercom_provider.api.settings import Settings
    from intercom_provider.ledger.ledger import Ledger
    from intercom_provider.sending.single import SendResult, SingleSend

_MAX_ALERT_SECONDS: Final = 30.0
# The last request may begin only while there is time left for its answer.
_MAX_REQUEST_SECONDS: Final = 10.0
_HAVE_DEFAULTS: Final = ("body", "subject")
_TEXTS: Final = (*_HAVE_DEFAULTS, "components")


class IntercomNotifier(BaseNotifier):
    """
    Alert somebody by an Intercom message, from a callback of a task or a DAG or from a deadline alert.

    An error of the alert is logged with what to do about it, and never changes the state of the task or run. Takes at
    most 30 seconds, retries included.

    All fields of the message are templated with the callback's context. Without a ``body`` the alert holds what
    Airflow knows: DAG, run, task, try, exception or reason, the log's address.

    :param message_type: ``in_app``, ``email``, ``whatsapp`` or ``sms``.
    :param to: One recipient: ``{"type": "user" | "lead", "id" | "user_id" | "email": ...}``, for WhatsApp
        ``{"phone": "+44...", "name": ...}``.
    :param body: The text; None (default) for what Airflow knows. Not for WhatsApp.
    :param subject: The subject; email only, None (default) for the first line of the text.
    :param template: Email: ``plain`` (default) or ``personal``; WhatsApp: the template's name.
    :param components: The parameters of a WhatsApp template, as in Meta's Cloud API.
    :param locale: The language of a WhatsApp template.
    :param from_admin_id: The sender; None (default) for the connection's ``admin_id``.
    :param cc: A recipient or a list of them who get a copy.
    :param bcc: The same, hidden.
    :param created_at: Backdates the message: epoch seconds, a datetime or ISO text. Schedules nothing.
    :param create_conversation_without_contact_reply: Whether there is a conversation at once (default: no).
    :param body_format: ``text`` (default), which is escaped, or ``html``.
    :param shared_conversation: Whether a list in ``to`` may share one conversation (default False).
    :param key: Distinguishes two alerts to one person about one task instance; not sent to Intercom.
    :param once: Whether a task instance alerts once (default True), or with every callback.
    :param intercom_conn_id: The connection (default ``intercom_default``; templated).
    :param context: Set by Airflow for a deadline alert.
    :raises InvalidFieldError: When a literal is wrong, when the DAG is parsed.
    """

    template_fields: Sequence[str] = (
        "message_type",
        "to",
        "body",
        "subject",
        "template",
        "components",
        "locale",
        "from_admin_id",
        "cc",
        "bcc",
        "created_at",
        "create_conversation_without_contact_reply",
        "key",
        "intercom_conn_id",
    )
    # A callback has no folder in which a template file could be found.
    template_ext: Sequence[str] = ()

    def __init__(
        self,
        *,
        message_type: str,
        to: Any,
        body: str | None = None,
        subject: str | None = None,
        template: str | None = None,
        components: Sequence[Mapping[str, Any]] | str | None = None,
        locale: str | None = None,
        from_admin_id: str | int | None = None,
        cc: Any = None,
        bcc: Any = None,
        created_at: float | str | datetime | None = None,
        create_conversation_without_contact_reply: bool | str | None = None,
        body_format: Literal["html", "text"] = "text",
        shared_conversation: bool = False,
        key: str | int | None = None,
        once: bool = True,
        intercom_conn_id: str = "intercom_default",
        context: Context | None = None,
    ) -> None:
        super().__init__(context=context)
        self.message_type = message_type
        self.to = to
        self.body = body
        self.subject = subject
        self.template = template
        self.components = components
        self.locale = locale
        self.from_admin_id = from_admin_id
        self.cc = cc
        self.bcc = bcc
        self.created_at = created_at
        self.create_conversation_without_contact_reply = create_conversation_without_contact_reply
        self.body_format = body_format
        self.shared_conversation = shared_conversation
        self.key = key
        self.once = once
        self.intercom_conn_id = intercom_conn_id
        # Unrendered: two notifiers that are the same in the DAG may render to different values.
        self.same = (message_type, to, key)
        self._origin = self
        self._is_rendered = False
        self._unrendered: dict[str, Exception] = {}
        if context is None:
            # With a context Airflow makes it in order to alert, and its mistakes belong in the log.
            self._check_literals()

    def __call__(self, *args: Any) -> None:
        """
        Alert; Airflow calls this.

        :param args: The callback's context.
        """
        # Rendering overwrites the fields and the context, and one notifier may serve many tasks in one process.
        each = copy.copy(self)
        each._origin = self  # noqa: SLF001 - of the same class
        super(IntercomNotifier, each).__call__(*({**context} for context in args))

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """
        Render the templated fields, always to text; a field that cannot be rendered is reported with the alert.

        :param context: The callback's context.
        :param jinja_env: A Jinja environment; None (default) for the DAG's.
        """
        dag: Any = context.get("dag")
        self._unrendered, self._is_rendered = {}, True
        if jinja_env is None:
            # The DAG that dag.test() passes to its callbacks cannot make an environment. The environment is never
            # the native one, so that an exception that reads like a number stays text.
            make = getattr(dag, "get_template_env", None)
            jinja_env = self.get_template_env() if make is None else make(force_sandboxed=True)
        for name in self.template_fields:
            given = getattr(self, name)
            try:
                rendered = (
                    given(context=context, jinja_env=jinja_env)
                    if callable(given)
                    else self.render_template(given, context, jinja_env)
                )
            except Exception as error:  # noqa: BLE001 - a template may raise anything
                self._unrendered[name] = error
            else:
                setattr(self, name, rendered)

    def notify(self, context: Context) -> None:
        """
        Alert from a callback of a task or a DAG; Airflow or your own function calls this.

        :param context: The callback's context.
        """
        from intercom_provider.api.client import IntercomClient
        from intercom_provider.hooks.intercom import IntercomHook

        if not self._is_rendered:
            each, context = self._render_copy(context)
            IntercomNotifier.notify(each, context)
            return
        deadline = time.time() + _MAX_ALERT_SECONDS
        # The clock may be set back while a request or a retry is waited for.
        last_request = time.monotonic() + _MAX_ALERT_SECONDS - _MAX_REQUEST_SECONDS
        with self._log_instead_of_raising():
            settings = IntercomHook(self._connection_id()).settings
            with IntercomClient(settings, stopped=lambda: time.monotonic() >= last_request) as client:
                send = self._prepare(context, settings, deadline)
                if send is not None:
                    self._log_result(send.run(client))

    async def async_notify(self, context: Context) -> None:
        """
        Alert from a deadline alert, in the triggerer.

        :param context: The deadline's context.
        """
        from intercom_provider.hooks.intercom import IntercomHook

        if not self._is_rendered:
            each, context = self._render_copy(context)
            await IntercomNotifier.async_notify(each, context)
            return
        deadline = time.time() + _MAX_ALERT_SECONDS
        with self._log_instead_of_raising():
            async with asyncio.timeout(_MAX_ALERT_SECONDS):
                hook = IntercomHook(self._connection_id())
                async with await hook.aget_conn() as client:
                    send = self._prepare(context, client.settings, deadline)
                    if send is not None:
                        self._log_result(await send.arun(client))

    def _render_copy(self, context: Context) -> tuple[IntercomNotifier, Context]:
        """Render a copy of this notifier, whose method was called by hand, as Airflow does before it calls it."""
        each = copy.copy(self)
        context = each._update_context(copy.copy(context))  # noqa: SLF001 - of the same class
        each.render_template_fields(context)
        return each, context

    def _render(self, template: jinja2.Template, context: Context, dag: DAG | None = None) -> Any:  # noqa: ARG002
        return template.render(context)

    def _prepare(self, context: Context, settings: Settings, deadline: float) -> SingleSend | None:
        """Prepare the alert, whichever client sends it; return None when it must not be sent."""
        from intercom_provider.sending.single import SingleSend

        alert = read_alert(context, will_retry=self._will_retry(context))
        fields = self._fields(alert)
        # An exception may quote a secret, and an alert leaves the company.
        message = parse_message({**fields, **{name: without_secrets(fields[name]) for name in _TEXTS}})
        ledger: Ledger = StatelessLedger()
        if self.once and alert.of_task and not settings.dry_run:
            if reason := self._reason_to_skip(context, alert):
                self.log.info("No alert: %s (once is set)", reason)
                return None
            ledger = self._ledger(context, alert)
        options = SendOptions(contact_wait=0, not_after=deadline - _MAX_REQUEST_SECONDS, repeat="on_clear")
        return SingleSend(message, settings, options, ledger, salt=ledger.salt, request_timeout=_MAX_REQUEST_SECONDS)

    def _reason_to_skip(self, context: Context, alert: Alert) -> str:
        from intercom_provider.notifications.once import reason_to_skip

        return reason_to_skip(alert, read_attempt(context), is_covered=self._is_covered(context))

    def _ledger(self, context: Context, alert: Alert) -> Ledger:
        from intercom_provider.notifications.once import alert_ledger

        return alert_ledger(context, alert, self.log)

    def _log_result(self, result: SendResult) -> None:
        receipt, _, cause, entry = result
        if cause is not None:
            raise cause
        if receipt.outcome == "sent":
            self.log.info("Alert sent as message %s", receipt.id)
        elif receipt.outcome == "already_sent":
            self.log.info("No alert: %s has sent it (once is set)", entry)
        elif receipt.outcome == "unconfirmed":
            self.log.warning("No alert: %s may or may not have sent it, and it is not repeated (once is set)", entry)
        elif receipt.outcome != "dry_run":
            self.log.error("The alert was not sent: message %s: %s", receipt.id, receipt.reason)

    def _will_retry(self, context: Context) -> bool | None:
        """Check whether this is the callback of a retry; None when the notifier is in both lists or in none."""
        on_retry, on_failure = (
            any(each is self._origin for each in _callbacks(context, kind)) for kind in ("retry", "failure")
        )
        return None if on_retry == on_failure else on_retry

    def _is_covered(self, context: Context) -> bool:
        """Check whether the same alert is sent when the task has failed for good."""
        return any(
            isinstance(each, IntercomNotifier) and each.once and each.same == self.same
            for each in _callbacks(context, "failure")
        )

    def _connection_id(self) -> str:
        if (error := self._unrendered.get("intercom_conn_id")) is not None:
            raise InvalidInputError([_unrendered("intercom_conn_id", error)])
        return self.intercom_conn_id

    def _fields(self, alert: Alert) -> dict[str, Any]:
        """Return the fields of the message, with what Airflow knows as the default for body and subject."""
        lost = {name: error for name, error in self._unrendered.items() if name not in _HAVE_DEFAULTS}
        if lost:
            raise InvalidInputError(_unrendered(*each) for each in lost.items())
        for each in self._unrendered.items():
            self.log.error("%s. The alert has the default text instead", _unrendered(*each))
        fields = {name: getattr(self, name) for name in MESSAGE_FIELDS}
        missing = {name for name in _HAVE_DEFAULTS if is_missing(fields[name])} | self._unrendered.keys()
        if "body" in missing and self.message_type != "whatsapp":
            why = [f"({_unrendered('body', error)})"] if (error := self._unrendered.get("body")) else []
            fields["body"] = "\n".join([alert.text, *why])
            if self.body_format == "html":
                fields["body_format"] = "text"
        if "subject" in missing and self.message_type == "email":
            fields["subject"] = alert.headline
        return fields

    def _check_literals(self) -> None:
        """Check when the DAG is parsed what is not templated; the rest is checked when it alerts."""
        unrendered = {name for name in self.template_fields if not is_untemplated(getattr(self, name, None))}
        problems: list[Problem] = [
            problem for name in MESSAGE_FIELDS for problem in find_foreign_placeholders(name, getattr(self, name, None))
        ]
        try:
            parse_message(self._fields(Alert("unknown", "a default", "a default")))
        except InvalidInputError as error:
            problems += [problem for problem in error.problems if problem.field.partition(".")[0] not in unrendered]
        if not isinstance(self.once, bool):
            problems.append(Problem("once", "must be True or False"))
        if problems:
            raise InvalidFieldError(str(InvalidInputError(problems)))

    @contextmanager
    def _log_instead_of_raising(self) -> Iterator[None]:
        """Log errors instead of raising them: they must not hide what the alert is about."""
        try:
            yield
        except UnconfirmedError as error:
            self.log.error("The alert may have been sent or not; %s", error)  # noqa: TRY400 - it is advice, not a defect
        except StoppedError:
            self.log.error("The alert was not sent within %.0f s", _MAX_ALERT_SECONDS)  # noqa: TRY400
        except ExpiredError as error:
            why = error.__cause__ or "the time was up"
            self.log.error("The alert was not sent within %.0f s: %s", _MAX_ALERT_SECONDS, why)  # noqa: TRY400
        except IntercomError as error:
            self.log.error("The alert was not sent. %s", error)  # noqa: TRY400
        except AirflowException as error:
            self.log.error(  # noqa: TRY400
                "The alert was not sent. %s. Define the connection %s where this callback runs, or name another "
                "with intercom_conn_id",
                error,
                self.intercom_conn_id,
            )
        except TimeoutError:
            self.log.error("The alert may have been sent or not: it took longer than %.0f s", _MAX_ALERT_SECONDS)  # noqa: TRY400
        except Exception:
            self.log.exception("The alert was not sent")


def _callbacks(context: Context, kind: str) -> Sequence[Any]:
    given: Any = getattr(context.get("task"), f"on_{kind}_callback", None) or ()
    return given if isinstance(given, Sequence) else [given]


def _unrendered(name: str, error: Exception) -> Problem:
    return Problem(name, f"its template cannot be rendered in this callback ({type(error).__name__}: {to_text(error)})")
