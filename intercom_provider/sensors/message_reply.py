"""The sensor that waits until a contact has answered a message."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from intercom_provider.api.errors import IntercomError, InvalidInputError, Problem
from intercom_provider.api.values import is_missing, read_id
from intercom_provider.api.version import parse_api_version
from intercom_provider.compat import conf, push_before_raising
from intercom_provider.exceptions import InvalidFieldError, as_airflow_errors
from intercom_provider.fields import check_choice, is_untemplated
from intercom_provider.links import conversation_url, show_link
from intercom_provider.sensors.base import WaitingSensor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from airflow.sdk import Context

    from intercom_provider.triggers.message_reply import MessageReplyTrigger
    from intercom_provider.waiting.reply_wait import ReplyWait

_WHATSAPP_ID_PREFIX: Final = "wamid"


class MessageReplySensor(WaitingSensor["ReplyWait"]):
    """
    Wait until the contact has answered a message.

    Intercom makes a conversation of a message once the contact has answered. With
    ``create_conversation_without_contact_reply`` it makes one at once, and the sensor waits for an answer in it.
    Intercom finds a new answer 5 to 10 seconds late. Uses
    https://developers.intercom.com/docs/references/rest-api/api.intercom.io/conversations/searchconversations.

    XCom, one key each, also after a time-out: ``conversation_id``, ``replied_at`` (epoch seconds), ``timed_out``.

    :param message_id: Intercom's id of the message: ``send.output["id"]`` (templated).
    :param on_timeout: ``fail`` (default), or ``report``: success with ``timed_out`` true.
    :param ledger_conn_id: The connection of the ledger into which the answer's time is written; None (default) for
        ``[intercom] ledger_conn_id`` (templated).
    :param deferrable: Whether the triggerer does the waiting (default: Airflow's ``default_deferrable``).
    :param api_version: API version in place of the connection's (templated).
    :param intercom_conn_id: The connection (default ``intercom_default``; templated).
    :param timeout: Seconds until the wait times out (default 86400).
    :param poke_interval: Seconds between two polls (default 60).
    :param multiple_outputs: Whether each XCom key is pushed on its own (default True).
    :raises AirflowSensorTimeout: When the wait times out; not retried.
    :raises InvalidFieldError: When a field is wrong; no request was made.
    :raises IntercomRefusedError: When Intercom refuses (400, 401, 403); not retried.
    """

    template_fields: ClassVar[Sequence[str]] = (  # type: ignore[misc]
        "message_id",
        "ledger_conn_id",
        "api_version",
        "intercom_conn_id",
    )
    ui_color = "#f3e5f5"

    def __init__(
        self,
        *,
        message_id: str | int,
        on_timeout: Literal["fail", "report"] = "fail",
        ledger_conn_id: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        api_version: str | None = None,
        intercom_conn_id: str = "intercom_default",
        timeout: float | timedelta = 86_400,
        poke_interval: float | timedelta = 60,
        multiple_outputs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            on_timeout=on_timeout,
            deferrable=deferrable,
            api_version=api_version,
            intercom_conn_id=intercom_conn_id,
            timeout=timeout,
            poke_interval=poke_interval,
            multiple_outputs=multiple_outputs,
            **kwargs,
        )
        self.message_id = message_id
        self.ledger_conn_id = ledger_conn_id
        self._read_message_id(parsing=True)

    def _begin(self, context: Context) -> ReplyWait:  # noqa: ARG002 - the signature of all sensors
        from intercom_provider.waiting.reply_wait import ReplyWait

        deadline = self._deadline_of_try()
        return ReplyWait(
            message_id=self._read_message_id(), started=deadline - self._max_wait_seconds, deadline=deadline
        )

    def _poll(self, context: Context, wait: ReplyWait, *, full: bool = False) -> dict[str, object] | None:
        from intercom_provider.hooks.intercom import IntercomHook

        hook = IntercomHook(self.intercom_conn_id, api_version=self.api_version)
        with as_airflow_errors(), hook.get_conn() as client:
            self._show_link(context, hook.settings)
            started = time.time()
            if self._must_pause(wait, started):
                return None
            try:
                found = client.run(wait.partial_poll(started))
            except IntercomError as error:
                verdict = wait.poll_failed(error, time.time(), self._max_failed_polls)
                if verdict == "deadline" and not wait.deadline_passed(started):
                    # The deadline cut this poll short. It does not cut the last one short, which begins now.
                    return self._poll(context, wait, full=full)
            else:
                verdict = wait.update(found, time.time())
                if verdict == "deadline" and not wait.deadline_passed(started):
                    return self._poll(context, wait, full=full)
                self._show_progress(context, wait, found)
            if verdict == "wait":
                return None
            if wait.conversation_id is not None:
                show_link(context, conversation_url(wait.conversation_id, hook.settings, client))
            return self._conclude(context, wait, timed_out=verdict == "deadline")

    def _conclude(self, context: Context, wait: ReplyWait, *, timed_out: bool) -> dict[str, object]:
        if not wait.has_polled:
            raise self._timed_out(f"{wait}: no poll succeeded within")
        self._write_reply(wait)
        values: dict[str, object] = {
            "conversation_id": wait.conversation_id,
            "replied_at": wait.replied_at,
            "timed_out": timed_out,
        }
        if timed_out and self.on_timeout == "fail":
            push_before_raising(self, context, values)
            raise self._timed_out(f"{wait}: the contact has not answered within")
        return values

    def _write_reply(self, wait: ReplyWait) -> None:
        """Write the answer's time into the ledger, where there is one."""
        from intercom_provider.ledger.configuration import ledger_connection

        if wait.replied_at is not None and (conn_id := ledger_connection(self.ledger_conn_id)) is not None:
            from intercom_provider.ledger.delivery_log import write_reply

            write_reply(conn_id, wait.message_id, wait.replied_at)

    def _trigger(self, wait: ReplyWait) -> MessageReplyTrigger:
        from intercom_provider.triggers.message_reply import MessageReplyTrigger

        return MessageReplyTrigger(message_id=wait.message_id, state=wait.state(), **self._trigger_arguments())

    def _read_message_id(self, *, parsing: bool = False) -> str:
        """Check the fields and return the message's id; while a DAG is parsed, skip templates."""
        problems: list[Problem] = []
        message_id = ""
        check_choice(problems, "on_timeout", self.on_timeout, ("fail", "report"))
        try:
            if not (parsing and not is_untemplated(self.message_id)):
                message_id = _message_id(self.message_id)
        except InvalidInputError as error:
            problems.extend(error.problems)
        try:
            if not is_missing(self.api_version) and is_untemplated(self.api_version):
                parse_api_version(self.api_version)
        except InvalidInputError as error:
            problems.extend(error.problems)
        if problems:
            raise InvalidFieldError(str(InvalidInputError(problems)))
        return message_id


def _message_id(value: object) -> str:
    if is_missing(value):
        raise InvalidInputError.of(
            "message_id",
            "is missing or rendered to nothing: a message that was not sent (rejected, expired, dry run) has no id",
        )
    text = read_id("message_id", value, "must be one message's id, as text or a whole number")
    if text.startswith(_WHATSAPP_ID_PREFIX):
        raise InvalidInputError.of(
            "message_id", "is WhatsApp's id of the message: give Intercom's, the sender's XCom \"id\""
        )
    return text
