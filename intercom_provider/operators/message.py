"""The operators that send."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias

from airflow.sdk import BaseOperator

from intercom_provider.api.errors import (
    ApiError,
    ExpiredError,
    IntercomError,
    InvalidInputError,
    NotFoundError,
    Problem,
    RefusedError,
    StoppedError,
    UnconfirmedError,
    UnreachableError,
)
from intercom_provider.api.message import MESSAGE_FIELDS, check_version, parse_message
from intercom_provider.api.values import is_missing
from intercom_provider.api.version import parse_api_version
from intercom_provider.compat import (
    AirflowException,
    AirflowTaskTimeout,
    is_unmapped,
    push_before_raising,
)
from intercom_provider.exceptions import (
    IntercomRefusedError,
    InvalidFieldError,
    MessageUnconfirmedError,
    as_airflow_errors,
)
from intercom_provider.fields import is_untemplated, read_not_after
from intercom_provider.ledger.ledger import Ledger, OnUnconfirmed, Repeat, message_digest
from intercom_provider.ledger.mapped import MappedInstances
from intercom_provider.links import IntercomLink, conversation_url, inbox_url, show_link
from intercom_provider.operators.batch import SendMessageBatchOperator
from intercom_provider.sending.options import (
    find_problems,
    is_mapped,
    open_store,
    read_attempt,
    scope_salt,
    was_cleared,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    import jinja2
    from airflow.sdk import Context

    from intercom_provider.api.client import IntercomClient
    from intercom_provider.api.flow import Flow
    from intercom_provider.api.message import Message
    from intercom_provider.api.models import Outcome, Receipt
    from intercom_provider.hooks.intercom import IntercomHook
    from intercom_provider.ledger.ledger import Entry

__all__ = ["OnRejected", "SendMessageBatchOperator", "SendMessageOperator"]

OnRejected: TypeAlias = Literal["fail", "report"]

_CHOICES: Final = {
    "on_rejected": ("fail", "report"),
    "body_format": ("html", "text"),
}
# What the ledger keeps of a receipt: ids and times, nothing of the recipient or the content.
_RECORDED: Final = {"id", "conversation_id", "whatsapp_message_id", "created_at"}
_FILE_FIELDS: Final = ("body", "components")
_FILE_ENDINGS: Final = (".html", ".txt", ".md", ".json")


class SendMessageOperator(BaseOperator):
    """
    Send one message to one contact: in-app, email, WhatsApp or SMS.

    The request is repeated only while it certainly did not reach Intercom or was refused unread. Rests on
    https://developers.intercom.com/docs/references/rest-api/api.intercom.io/messages/createmessage.

    XCom, each key on its own and there even when the task fails: ``outcome`` (``sent``, ``already_sent``,
    ``rejected``, ``unconfirmed``, ``expired``, ``dry_run``), ``reason``, ``id``, ``conversation_id``,
    ``whatsapp_message_id``, ``message_type``, ``created_at``, ``key``.

    All fields of the message are templated. ``body`` and ``components`` may be the path of a template file
    (``.html``, ``.txt``, ``.md``, ``.json``).

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
    :param on_unconfirmed: What becomes of an earlier try without a known outcome: ``fail`` (default),
        ``resend``, ``assume_sent`` (templated).
    :param on_rejected: ``fail`` (default), or ``report``: success with the outcome ``rejected``.
    :param api_version: Replaces the connection's API version (templated).
    :param intercom_conn_id: The connection (default ``intercom_default``; templated).
    :raises InvalidFieldError: When a field is wrong; nothing was sent. Literals are checked as the DAG is parsed.
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
        "api_version",
        "intercom_conn_id",
    )
    # Only body and components may be files, and only by a path in the DAG: see _read_files.
    template_ext: ClassVar[Sequence[str]] = ()  # type: ignore[misc]
    template_fields_renderers: ClassVar[dict[str, str]] = {"body": "html", "to": "json", "components": "json"}
    operator_extra_links = (IntercomLink(),)
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
        self.api_version = api_version
        self.intercom_conn_id = intercom_conn_id
        self._files = {name for name in _FILE_FIELDS if _is_file(getattr(self, name))}
        self._hook: IntercomHook | None = None
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
        """Render the templated fields, and the files that body and components name; mapped tasks come here, too."""
        if parent is self and is_mapped(context):
            # One whose template fails never gets to execute, and has to tell what it has sent all the same.
            self._ledger(context).open()
        # What another task returned is text that anybody may have written, and names no file of ours.
        self._files = {name for name in self._files if id(getattr(self, name)) not in seen_oids}
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        self._read_files(context, jinja_env)

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Send the message, unless the ledger knows that it was sent.

        :param context: The task's context.
        :return: The receipt, key by key.
        """
        with as_airflow_errors():
            receipt, error = self._send(context)
            self._show_conversation(context, receipt)
            values = receipt.model_dump()
            if error is not None:
                push_before_raising(self, context, values)
                raise error
            told = f" ({receipt.reason})" if receipt.reason else ""
            self.log.info("Message %s: %s%s", receipt.outcome, receipt.id or "no id", told)
            return values

    def on_kill(self) -> None:
        """Keep the next request from being made."""
        self._killed = True
        if self._hook is not None:
            self._hook.stop()

    def _send(self, context: Context) -> tuple[Receipt, Exception | None]:
        """Send under the ledger: what became of the message, and the error with which the task has to end."""
        from intercom_provider.api import calls  # noqa: PLC0415 - not when a DAG is parsed
        from intercom_provider.api.flow import RetryLimits  # noqa: PLC0415
        from intercom_provider.hooks.intercom import IntercomHook  # noqa: PLC0415

        ledger = self._ledger(context)
        ledger.open()
        self._check_choices()
        self._hook = hook = IntercomHook(self.intercom_conn_id, api_version=self.api_version)
        if self._killed:
            hook.stop()
        show_link(context, inbox_url(hook.settings))
        if hook.settings.dry_run:
            return hook.send_message(self._fields()), None
        message = parse_message(self._fields())
        limits = RetryLimits(contact_wait=self.contact_wait, deadline=read_not_after(self.not_after))
        flow = calls.send_message(message, hook.settings, limits)
        with hook.get_conn() as client:
            found = ledger.find(_identity(context, message), time.time(), ask=self.repeat != "always")
            if found is not None and not ledger.may_send(found, self.repeat, self.on_unconfirmed):
                return self._found(ledger, found)
            if found is not None:
                self.log.warning(
                    "Sending again: there is %s (%s), and repeat is %s, on_unconfirmed %s",
                    found,
                    found.state,
                    self.repeat,
                    self.on_unconfirmed,
                )
            ledger.record_intent(time.time())
            return self._attempt(client, flow, ledger, found)

    def _attempt(
        self, client: IntercomClient, flow: Flow[Receipt], ledger: Ledger, found: Entry | None
    ) -> tuple[Receipt, Exception | None]:
        try:
            receipt = client.run(flow)
        except StoppedError:
            ledger.withdraw_intent(found)
            raise
        except (ApiError, ExpiredError, UnreachableError) as error:
            ledger.withdraw_intent(found)
            return self._not_sent(error)
        except UnconfirmedError as error:
            return self._unconfirmed(ledger, str(error))
        except AirflowTaskTimeout:
            if not client.may_have_sent:
                ledger.withdraw_intent(found)
                raise
            return self._unconfirmed(ledger, "unconfirmed: execution_timeout struck while it sent")
        if receipt.outcome == "rejected":
            ledger.withdraw_intent(found)
            refusal = IntercomRefusedError(f"message {receipt.id}: {receipt.reason}")
            return receipt, None if self.on_rejected == "report" else refusal
        self._record(ledger, receipt)
        return receipt, None

    def _ledger(self, context: Context) -> Ledger:
        store = open_store(context, self.log)
        mapped_instances = None
        if store is not None and is_mapped(context):
            mapped_instances = MappedInstances(context["ti"], was_cleared=was_cleared(context))
        return Ledger(store, read_attempt(self, context), mapped_instances)

    def _found(self, ledger: Ledger, found: Entry) -> tuple[Receipt, Exception | None]:
        """Answer from the ledger instead of sending."""
        if found.receipt is not None:
            reason = f"already sent by {found} as message {found.receipt.get('id')}; not sending again"
            if found.map_index is not None:
                reason += ". If these are two messages to one person, give each a key of its own"
            return self._receipt("already_sent", reason, **found.receipt), None
        return self._unconfirmed(ledger, f"{found} left no result: the message may have been sent or not")

    def _unconfirmed(self, ledger: Ledger, reason: str) -> tuple[Receipt, Exception | None]:
        if self.on_unconfirmed == "assume_sent":
            return self._receipt("unconfirmed", f"assumed to be sent, as on_unconfirmed says; {reason}"), None
        receipt = self._receipt("unconfirmed", reason)
        if self.on_unconfirmed == "resend":
            return receipt, AirflowException(
                f"{reason.rstrip('.')}. The next try sends it again, as on_unconfirmed says"
            )
        return receipt, MessageUnconfirmedError(f"{reason.rstrip('.')}. {ledger.recovery_hint}.")

    def _not_sent(self, error: IntercomError) -> tuple[Receipt, Exception | None]:
        receipt = self._receipt("expired" if isinstance(error, ExpiredError) else "rejected", str(error))
        return receipt, None if self.on_rejected == "report" and _concerns_the_message(error) else error

    def _record(self, ledger: Ledger, receipt: Receipt) -> None:
        try:
            ledger.record(receipt.model_dump(include=_RECORDED), time.time())
        except (Exception, AirflowTaskTimeout):
            # The message is out. Failing now would call it what it is not; the intent keeps a rerun from resending.
            self.log.exception("Message %s was sent, and the ledger could not be told", receipt.id)

    def _show_conversation(self, context: Context, receipt: Receipt) -> None:
        if receipt.conversation_id is None or self._hook is None:
            return
        try:
            with self._hook.get_conn() as client:
                url = conversation_url(receipt.conversation_id, self._hook.settings, client)
            show_link(context, url)
        except (Exception, AirflowTaskTimeout):
            # The message is out, and no button is worth calling it what it is not.
            self.log.warning("The button leads to the inbox: its conversation could not be named", exc_info=True)

    def _receipt(self, outcome: Outcome, reason: str, **known: Any) -> Receipt:
        from intercom_provider.api.models import Receipt  # noqa: PLC0415 - not when a DAG is parsed

        own = {"message_type": self.message_type, "key": None if is_missing(self.key) else self.key}
        return Receipt(outcome=outcome, reason=reason, **{**own, **known})

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in MESSAGE_FIELDS}

    def _check_literals(self) -> None:
        """Find what is wrong already when the DAG is parsed; what is templated shows when the task runs."""
        problems: list[Problem] = []
        lazy = {name for name in self.template_fields if not is_untemplated(getattr(self, name))} | self._files
        try:
            message = parse_message(self._fields())
            if not is_missing(self.api_version) and "api_version" not in lazy:
                check_version(message, parse_api_version(self.api_version))
        except InvalidInputError as error:
            problems = [problem for problem in error.problems if problem.field.partition(".")[0] not in lazy]
        if problems:
            raise InvalidFieldError(str(InvalidInputError(problems)))
        self._check_choices(lazy)

    def _check_choices(self, lazy: Collection[str] = ()) -> None:
        if problems := list(find_problems(self, _CHOICES, lazy)):
            raise InvalidFieldError(str(InvalidInputError(problems)))

    def _read_files(self, context: Context, jinja_env: jinja2.Environment) -> None:
        while self._files:
            name = self._files.pop()
            path = str(getattr(self, name)).strip()
            try:
                template = jinja_env.get_template(path)
            except Exception as error:
                raise InvalidFieldError(f"{name}: the template file {path} cannot be read ({error!r})") from error
            setattr(self, name, template.render(context))


def _identity(context: Context, message: Message) -> str:
    return message_digest(
        key=message.key, message_type=message.wire_type, recipients=message.recipients, salt=scope_salt(context)
    )


def _is_file(value: object) -> bool:
    return isinstance(value, str) and value.endswith(_FILE_ENDINGS) and len(value.split()) == 1


def _concerns_the_message(error: IntercomError) -> bool:
    """Tell a refusal of this one message from one that every message would get."""
    return isinstance(error, NotFoundError | RefusedError) and error.code != "intercom_version_invalid"
