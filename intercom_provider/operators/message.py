"""The operator that sends one message; the one that sends many can be imported from here as well."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from airflow.sdk import BaseOperator

from intercom_provider.api.errors import InvalidInputError, Problem
from intercom_provider.api.message import MESSAGE_FIELDS, check_version, parse_message
from intercom_provider.api.values import is_missing
from intercom_provider.api.version import parse_api_version
from intercom_provider.compat import AirflowTaskTimeout, is_unmapped, push_before_raising
from intercom_provider.exceptions import InvalidFieldError, as_airflow_errors
from intercom_provider.fields import is_untemplated, replace_undefined
from intercom_provider.links import DeliveryLink, IntercomLink, conversation_url, inbox_url, show_link
from intercom_provider.operators.batch import SendMessageBatchOperator
from intercom_provider.sending.options import OnRejected, find_problems, read_options
from intercom_provider.sending.task_instance import begin_in_table, defer_until, message_ledger
from intercom_provider.sending.window import WindowClosedError, check_outlives_deferral, read_window, sleep_until
from intercom_provider.templates import explain_native_numbers, explain_templates, find_foreign_placeholders

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, time, timedelta

    import jinja2
    from airflow.sdk import Context

    from intercom_provider.api.message import Message
    from intercom_provider.api.models import Receipt
    from intercom_provider.hooks.intercom import IntercomHook
    from intercom_provider.ledger.ledger import Ledger, OnUnconfirmed, Repeat
    from intercom_provider.sending.single import SendResult

__all__ = ["OnRejected", "SendMessageBatchOperator", "SendMessageOperator"]

_CHOICES: Final = {
    "on_rejected": ("fail", "report"),
    "body_format": ("html", "text"),
}
_FILE_FIELDS: Final = ("body", "components")
_FILE_ENDINGS: Final = (".html", ".txt", ".md", ".json")
# "https://...", "mailto:..."; but a path of Windows begins with a single letter.
_URL: Final = re.compile(r"(//|www\.|[a-z][a-z0-9+.-]+:)", re.IGNORECASE)


class SendMessageOperator(BaseOperator):
    """
    Send one message to one contact: in-app, email, WhatsApp or SMS.

    The request is repeated only when it certainly did not reach Intercom or was refused unread. Uses
    https://developers.intercom.com/docs/references/rest-api/api.intercom.io/messages/createmessage.

    XCom, each key on its own and there even when the task fails: ``outcome`` (``sent``, ``already_sent``, ``claimed``,
    ``rejected``, ``not_sent``, ``unconfirmed``, ``expired``, ``dry_run``), ``reason``, ``id``, ``conversation_id``,
    ``whatsapp_message_id``, ``message_type``, ``created_at``, ``key``.

    All fields of the message are templated. ``body`` and ``components`` may be the path of a template file
    (``.html``, ``.txt``, ``.md``, ``.json``); a URL is text.

    :param message_type: ``in_app``, ``email``, ``whatsapp`` or ``sms``.
    :param to: One recipient: ``{"type": "user" | "lead", "id" | "user_id" | "email": ...}``, for WhatsApp
        ``{"phone": "+44...", "name": ...}``.
    :param body: The text; not for WhatsApp.
    :param subject: The subject; email only.
    :param template: Email: ``plain`` (default) or ``personal``; WhatsApp: the template's name.
    :param components: The parameters of a WhatsApp template, as in Meta's Cloud API.
    :param locale: The language of a WhatsApp template.
    :param from_admin_id: The sender; None (default) for the connection's ``admin_id``.
    :param cc: A recipient or a list of them who get a copy.
    :param bcc: The same, hidden.
    :param created_at: Backdates the message: epoch seconds, a datetime or ISO text. Schedules nothing.
    :param create_conversation_without_contact_reply: Whether there is a conversation at once (default: no).
    :param body_format: ``html`` (default), or ``text``, which is escaped.
    :param shared_conversation: Whether a list in ``to`` may share one conversation (default False).
    :param key: Your own id for the message; not sent to Intercom, echoed in XCom.
    :param contact_wait: Seconds for which a contact that was just created may be missing (default 30).
    :param not_after: The last moment at which the message may be sent; None (default) for no limit (templated).
    :param repeat: When the same task may send again: ``never`` (default), ``on_clear``, ``always`` (templated).
    :param on_unconfirmed: What to do after an earlier try without a known outcome: ``fail`` (default),
        ``resend``, ``assume_sent`` (templated).
    :param on_rejected: ``fail`` (default), or ``report``: success with the outcome ``rejected``.
    :param campaign: The campaign within which a message goes out once, whichever task, run or DAG sends it; None
        (default) for this task in its run. Needs a ledger in a database (templated).
    :param repeat_after: After what time a message of the campaign may go out again: a timedelta, ``7d``, ``12h``;
        None (default) for never. Whole days count calendar days (templated).
    :param ledger_conn_id: The connection of the database with the ledger, PostgreSQL or SQLite; None (default) for
        ``[intercom] ledger_conn_id``, else for Airflow's task state store (templated).
    :param send_window: The local times between which the message goes out, such as ``("09:00", "20:00")``; None
        (default) for any time. Outside of it the task waits, and holds no worker. Needs ``timezone``, and a ledger.
    :param timezone: The time zone of the window and of whole days, an IANA name; None (default) for UTC (templated).
    :param api_version: Replaces the connection's API version (templated).
    :param intercom_conn_id: The connection (default ``intercom_default``; templated).
    :param multiple_outputs: Whether each XCom key is pushed on its own (default True).
    :raises InvalidFieldError: When a field is wrong; nothing was sent. Literals are checked when the DAG is parsed.
    :raises IntercomRefusedError: When Intercom or WhatsApp refused the message; not retried.
    :raises MessageUnconfirmedError: When it may have been sent or not; not retried.
    :raises IntercomError: When it was not sent for a reason that may pass; Airflow retries.
    """

    template_fields: ClassVar[Sequence[str]] = (  # type: ignore[misc]
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
    # Only body and components may be files, and only by a path in the DAG: see _read_files.
    template_ext: ClassVar[Sequence[str]] = ()  # type: ignore[misc]
    template_fields_renderers: ClassVar[dict[str, str]] = {"body": "html", "to": "json", "components": "json"}
    operator_extra_links = (IntercomLink(), DeliveryLink())
    ui_color = "#e3eaf8"

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
        body_format: Literal["html", "text"] = "html",
        shared_conversation: bool = False,
        key: str | int | None = None,
        contact_wait: float = 30,
        not_after: float | str | datetime | None = None,
        repeat: Repeat | str = "never",
        on_unconfirmed: OnUnconfirmed | str = "fail",
        on_rejected: OnRejected = "fail",
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
        self.contact_wait = contact_wait
        self.not_after = not_after
        self.repeat = repeat
        self.on_unconfirmed = on_unconfirmed
        self.on_rejected = on_rejected
        self.campaign = campaign
        self.repeat_after = repeat_after
        self.ledger_conn_id = ledger_conn_id
        self.send_window = send_window
        self.timezone = timezone
        self.api_version = api_version
        self.intercom_conn_id = intercom_conn_id
        self._files = {name for name in _FILE_FIELDS if _is_file(getattr(self, name))}
        self._hook: IntercomHook | None = None
        self._ledger: Ledger | None = None
        self._killed = False
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
        """Render the templated fields, and the files that body and components name, also of mapped tasks."""
        if parent is self:
            self._ledger = self._begin_try(context)
        # What another task returned may be anybody's text, which must not name a file of the DAG's author.
        self._files = {name for name in self._files if id(getattr(self, name)) not in seen_oids}
        if parent is not self:
            super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        else:
            # What is in seen_oids another task has returned, and Airflow does not render it.
            rendered = {name: value for name in template_fields if id(value := getattr(self, name)) not in seen_oids}
            with as_airflow_errors(), explain_templates(rendered, jinja_env):
                super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
            with as_airflow_errors():
                replace_undefined(self, jinja_env)
        self._read_files(context, jinja_env)

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Send the message, unless the ledger knows that it was sent.

        :param context: The task's context.
        :return: The receipt, key by key.
        """
        with as_airflow_errors():
            ledger, self._ledger = self._ledger or self._begin_try(context), None
            receipt, error, *_ = self._send_in_window(context, ledger)
            self._show_conversation(context, receipt)
            values = receipt.model_dump()
            if error is not None:
                push_before_raising(self, context, values)
                raise error
            reason = f" ({receipt.reason})" if receipt.reason else ""
            self.log.info("Message %s: %s%s", receipt.outcome, receipt.id or "no id", reason)
            return values

    def execute_in_window(self, context: Context, event: object = None) -> dict[str, Any]:  # noqa: ARG002 - Airflow passes it
        """
        Go on once the window has opened, as :meth:`execute` does.

        :param context: The task's context.
        :param event: The trigger's event.
        :return: The receipt, key by key.
        """
        return self.execute(context)

    def on_kill(self) -> None:
        """Prevent the next request."""
        self._killed = True
        if self._hook is not None:
            self._hook.stop()

    def _begin_try(self, context: Context) -> Ledger:
        """Open the ledger and record that this try has begun, before anything else can go wrong in it."""
        ledger = message_ledger(context, self.log)
        ledger.begin_try()
        return ledger

    def _send_in_window(self, context: Context, ledger: Ledger) -> SendResult:
        while True:
            try:
                return self._send(context, ledger)
            except WindowClosedError as closed:
                self.log.info("The message is not sent yet: %s", closed)
                if not sleep_until(closed.opens_at, lambda: self._killed):
                    defer_until(self, closed.opens_at)

    def _send(self, context: Context, ledger: Ledger) -> SendResult:
        from intercom_provider.hooks.intercom import IntercomHook
        from intercom_provider.sending.single import SingleSend

        options = read_options(self, _CHOICES)._replace(
            on_rejected=self.on_rejected, send_window=read_window(self.send_window, self.timezone)
        )
        self._hook = hook = IntercomHook(self.intercom_conn_id, api_version=self.api_version)
        if self._killed:
            hook.stop()
        show_link(context, inbox_url(hook.settings))
        if options.ledger_conn_id is not None and not hook.settings.dry_run:
            ledger = begin_in_table(context, options, lambda: self._killed)
        elif options.send_window is not None and not hook.settings.dry_run:
            check_outlives_deferral(ledger)
        send = SingleSend(self._parse_message(), hook.settings, options, ledger, salt=ledger.salt)
        with hook.get_conn() as client:
            return send.run(client)

    def _parse_message(self) -> Message:
        try:
            return parse_message(self._fields())
        except InvalidInputError as error:
            has_dag: bool = self.has_dag()  # type: ignore[no-untyped-call]  # Airflow gives it no types
            if has_dag and self.dag.render_template_as_native_obj:
                raise explain_native_numbers(error) from None
            raise

    def _show_conversation(self, context: Context, receipt: Receipt) -> None:
        if receipt.conversation_id is None or self._hook is None:
            return
        try:
            with self._hook.get_conn() as client:
                url = conversation_url(receipt.conversation_id, self._hook.settings, client)
            show_link(context, url)
        except (Exception, AirflowTaskTimeout):
            # The message is sent, and a button is not worth a failed task.
            self.log.warning("The button leads to the inbox: its conversation could not be found", exc_info=True)

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in MESSAGE_FIELDS}

    def _check_literals(self) -> None:
        """Check when the DAG is parsed what is not templated; the rest is checked when the task runs."""
        # A subclass sets the fields that it adds after this constructor, so they may be missing here.
        unrendered = {name for name in self.template_fields if not is_untemplated(getattr(self, name, None))}
        unrendered |= self._files
        problems: list[Problem] = [
            problem for name in MESSAGE_FIELDS for problem in find_foreign_placeholders(name, getattr(self, name, None))
        ]
        try:
            message = parse_message(self._fields())
            if not is_missing(self.api_version) and "api_version" not in unrendered:
                check_version(message, parse_api_version(self.api_version))
        except InvalidInputError as error:
            problems += [problem for problem in error.problems if problem.field.partition(".")[0] not in unrendered]
        if not is_missing(self.send_window) and "timezone" not in unrendered:
            try:
                read_window(self.send_window, self.timezone)
            except InvalidInputError as error:
                problems += error.problems
        if problems := problems or list(find_problems(self, _CHOICES, unrendered)):
            raise InvalidFieldError(str(InvalidInputError(problems)))

    def _read_files(self, context: Context, jinja_env: jinja2.Environment) -> None:
        while self._files:
            name = self._files.pop()
            path = str(getattr(self, name)).strip()
            if not _is_file(path):
                continue  # a template made something else of it, such as a URL
            try:
                template = jinja_env.get_template(path)
            except Exception as error:
                raise InvalidFieldError(
                    f"{name}: the template file {path} cannot be read ({error!r}). If it is meant as text, write it as "
                    f"a template: {{{{ '{path}' }}}}"
                ) from error
            setattr(self, name, template.render(context))


def _is_file(value: object) -> bool:
    """Check whether a value looks like the path of a file: one word with an ending of template files, and no URL."""
    return (
        isinstance(value, str)
        and value.endswith(_FILE_ENDINGS)
        and len(value.split()) == 1
        and not _URL.match(value.strip())
    )
