"""The hook: reads an Airflow connection and makes clients of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.sdk import BaseHook

from intercom_provider.api import calls
from intercom_provider.api.client import AsyncIntercomClient, IntercomClient
from intercom_provider.api.errors import IntercomError, InvalidInputError, UnauthorizedError
from intercom_provider.api.flow import RetryLimits
from intercom_provider.api.message import parse_message
from intercom_provider.api.values import is_missing
from intercom_provider.get_provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR
from intercom_provider.hooks.connection import read_settings
from intercom_provider.metrics import report_requests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from airflow.sdk import Connection

    from intercom_provider.api.models import Admin, Me, Receipt, StatusEvent, WhatsAppStatus
    from intercom_provider.api.settings import Settings

_MAX_TEST_SECONDS: Final = 10.0


class IntercomHook(BaseHook):
    """
    Connects to Intercom with an Airflow connection of type ``intercom``.

    :param intercom_conn_id: The connection's id (default ``intercom_default``).
    :param region: ``us``, ``eu`` or ``au``; None (default) for the connection's region.
    :param api_version: ``2.17``, ``Preview``, ...; None (default) for the connection's version.
    :raises InvalidInputError: When there is no connection id.
    """

    conn_name_attr: ClassVar[str] = "intercom_conn_id"
    default_conn_name: ClassVar[str] = "intercom_default"
    conn_type: ClassVar[str] = "intercom"
    hook_name: ClassVar[str] = "Intercom"

    def __init__(
        self,
        intercom_conn_id: str = default_conn_name,
        *,
        region: str | None = None,
        api_version: str | None = None,
    ) -> None:
        super().__init__()
        if is_missing(intercom_conn_id):
            raise InvalidInputError.of("intercom_conn_id", "is missing, or rendered to nothing: name the connection")
        # A template may leave a line break at its end.
        self.intercom_conn_id = intercom_conn_id.strip()
        self.region = region
        self.api_version = api_version
        self._settings: Settings | None = None
        self._stopped = False
        self._dry_run_logged = False

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """
        Describe Airflow's own fields in the connection form, for Airflow 3.1.

        :return: The behaviour that later versions read from the provider's metadata.
        """
        return {name.replace("-", "_"): value for name, value in FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """
        Describe the other fields of the connection form, for Airflow 3.1.

        :return: Widgets, built from the table that later versions read from the provider's metadata.
        """
        from wtforms import BooleanField, IntegerField, StringField
        from wtforms.validators import Optional, any_of

        kinds = {"string": StringField, "integer": IntegerField, "boolean": BooleanField}
        widgets = {}
        for name, entry in CONNECTION_FIELDS.items():
            schema: Any = entry["schema"]
            validators = [Optional()]
            if "enum" in schema:
                validators.append(any_of(schema["enum"]))
            widgets[name] = kinds[schema["type"][0]](
                label=entry["label"],
                description=entry["description"],
                default=schema.get("default"),
                validators=validators,
            )
        return widgets

    @property
    def settings(self) -> Settings:
        """The connection's settings, read once and checked; raises InvalidInputError when a field is wrong."""
        if self._settings is None:
            self._settings = self._read(self.get_connection(self.intercom_conn_id))
        return self._settings

    async def aget_settings(self) -> Settings:
        """
        Read the connection's settings without blocking the event loop.

        :return: The settings, read once and checked.
        :raises InvalidInputError: When a field is wrong.
        """
        if self._settings is None:
            self._settings = self._read(await self.aget_connection(self.intercom_conn_id))
        return self._settings

    def get_conn(self) -> IntercomClient:
        """
        Make a client: a context manager, else closed by the caller.

        :return: The client.
        :raises InvalidInputError: When a field of the connection is wrong.
        """
        return IntercomClient(self.settings, stopped=lambda: self._stopped, on_close=report_requests)

    async def aget_conn(self) -> AsyncIntercomClient:
        """
        Make an async client: an async context manager, else closed by the caller.

        :return: The client.
        :raises InvalidInputError: When a field of the connection is wrong.
        """
        return AsyncIntercomClient(await self.aget_settings())

    def stop(self) -> None:
        """Make the clients of this hook raise StoppedError before their next request; safe in a signal handler."""
        self._stopped = True

    def test_connection(self) -> tuple[bool, str]:
        """
        Get the admin whose token it is and look up the default sender, with two requests in at most ten seconds.

        :return: Whether the connection works, and a text for the person who tests it.
        """
        try:
            with self.get_conn() as client:
                found = client.run(calls.me(RetryLimits(attempts=1, timeout=_MAX_TEST_SECONDS / 2)))
                sender, problem = _describe_sender(client, self.settings)
                parts = (problem, _describe_connection(found, self.settings), sender)
                return problem is None, " ".join(filter(None, parts))
        except UnauthorizedError as error:
            return False, f"Intercom does not accept this access token. {error}"
        except Exception as error:  # noqa: BLE001 - the person who tests the connection reads every error
            return False, str(error)

    def send_message(
        self,
        message: Mapping[str, object],
        *,
        contact_wait: float = 0,
        not_after: float | None = None,
    ) -> Receipt:
        """
        Send one message. The hook keeps no ledger: it sends the message again when it is called again.

        :param message: The fields of the message, as :class:`SendMessageOperator` takes them.
        :param contact_wait: Seconds to wait for a contact that does not exist yet (default 0).
        :param not_after: Epoch seconds after which the message is not sent; None (default) for no limit.
        :return: The receipt: ``sent``, ``rejected`` (WhatsApp did not accept the message) or ``dry_run``.
        :raises InvalidInputError: When a field is wrong; nothing was sent.
        :raises UnconfirmedError: When the message may or may not have been sent.
        :raises IntercomError: When the message was not sent.
        """
        limits = RetryLimits(contact_wait=contact_wait, deadline=not_after)
        flow = calls.send_message(parse_message(message), self.settings, limits)
        self._log_dry_run(self.settings)
        with self.get_conn() as client:
            return client.run(flow)

    async def asend_message(
        self,
        message: Mapping[str, object],
        *,
        contact_wait: float = 0,
        not_after: float | None = None,
    ) -> Receipt:
        """Send one message without blocking the event loop; see :meth:`send_message`."""
        settings = await self.aget_settings()
        limits = RetryLimits(contact_wait=contact_wait, deadline=not_after)
        flow = calls.send_message(parse_message(message), settings, limits)
        self._log_dry_run(settings)
        async with await self.aget_conn() as client:
            return await client.run(flow)

    def get_whatsapp_status(self, whatsapp_message_id: str) -> WhatsAppStatus:
        """
        Get the status of one WhatsApp message.

        :param whatsapp_message_id: The id that the send returned.
        :return: The status, with WhatsApp's error if the message failed.
        :raises NotFoundError: When Intercom does not know the id, or not yet.
        :raises IntercomError: When Intercom does not answer or refuses.
        """
        with self.get_conn() as client:
            return client.run(calls.whatsapp_status(whatsapp_message_id))

    async def aget_whatsapp_status(self, whatsapp_message_id: str) -> WhatsAppStatus:
        """Get a status without blocking the event loop; see :meth:`get_whatsapp_status`."""
        async with await self.aget_conn() as client:
            return await client.run(calls.whatsapp_status(whatsapp_message_id))

    def iter_message_statuses(self, ruleset_id: str | int) -> Iterator[StatusEvent]:
        """
        Read the statuses of all WhatsApp messages of a ruleset, page by page.

        :param ruleset_id: The id of the Outbound message.
        :return: The statuses in Intercom's order.
        :raises IntercomError: When Intercom does not answer or refuses.
        """
        pages = calls.Pages(ruleset_id)
        with self.get_conn() as client:
            while not pages.done:
                yield from client.run(pages.read()).events

    async def aiter_message_statuses(self, ruleset_id: str | int) -> AsyncIterator[StatusEvent]:
        """Read the statuses of a ruleset without blocking the event loop; see :meth:`iter_message_statuses`."""
        pages = calls.Pages(ruleset_id)
        async with await self.aget_conn() as client:
            while not pages.done:
                for event in (await client.run(pages.read())).events:
                    yield event

    def find_conversation_id(self, message_id: str) -> str | None:
        """
        Find the conversation that a message became part of.

        :param message_id: Intercom's message id.
        :return: The conversation's id; None while the contact has not answered.
        :raises IntercomError: When Intercom does not answer or refuses.
        """
        with self.get_conn() as client:
            found = client.run(calls.find_conversation(message_id))
            return found.id if found else None

    async def afind_conversation_id(self, message_id: str) -> str | None:
        """Find a conversation without blocking the event loop; see :meth:`find_conversation_id`."""
        async with await self.aget_conn() as client:
            found = await client.run(calls.find_conversation(message_id))
            return found.id if found else None

    def find_contact_id(self, external_id: str | None = None, email: str | None = None) -> str | None:
        """
        Find a contact by exactly one of your own id and email.

        :param external_id: Your own id of the contact.
        :param email: The contact's email address.
        :return: Intercom's id of the contact; None when there is no such contact.
        :raises InvalidInputError: When none or both are given.
        :raises IntercomError: When Intercom does not answer or refuses.
        """
        with self.get_conn() as client:
            return client.run(
                calls.find_contact(external_id=external_id, email=email, api_version=self.settings.api_version)
            )

    async def afind_contact_id(self, external_id: str | None = None, email: str | None = None) -> str | None:
        """Find a contact without blocking the event loop; see :meth:`find_contact_id`."""
        api_version = (await self.aget_settings()).api_version
        async with await self.aget_conn() as client:
            return await client.run(calls.find_contact(external_id=external_id, email=email, api_version=api_version))

    def _read(self, connection: Connection) -> Settings:
        return read_settings(connection, self.intercom_conn_id, region=self.region, api_version=self.api_version)

    def _log_dry_run(self, settings: Settings) -> None:
        if settings.dry_run and not self._dry_run_logged:
            self._dry_run_logged = True
            self.log.warning("Connection %s has dry_run set: nothing is sent", self.intercom_conn_id)

    def find_admin(self, admin_id: str | int) -> Admin | None:
        """
        Find an admin, who may be the sender of messages.

        :param admin_id: The admin's id.
        :return: The admin with name and inbox seat; None when Intercom does not know the id.
        :raises IntercomError: When Intercom does not answer or refuses; reading admins takes a permission of its own.
        """
        with self.get_conn() as client:
            return client.run(calls.find_admin(admin_id))

    async def afind_admin(self, admin_id: str | int) -> Admin | None:
        """Find an admin without blocking the event loop; see :meth:`find_admin`."""
        async with await self.aget_conn() as client:
            return await client.run(calls.find_admin(admin_id))


def _describe_sender(client: IntercomClient, settings: Settings) -> tuple[str | None, str | None]:
    """Describe the default sender, and what is wrong with it; a token that may not read admins proves nothing."""
    if settings.admin_id is None:
        return None, None
    try:
        admin = client.run(calls.find_admin(settings.admin_id, RetryLimits(attempts=1, timeout=_MAX_TEST_SECONDS / 2)))
    except IntercomError:
        return f"The default sender {settings.admin_id} could not be looked up: the token may not read admins.", None
    if admin is None:
        return None, f"admin_id: {settings.admin_id} is not an admin of this workspace. Give the id of a teammate."
    seat = ", without an inbox seat, which Intercom wants of a sender" if admin.has_inbox_seat is False else ""
    return f"Messages come from {admin.name} (admin {admin.id}{seat}) unless they name another sender.", None


def _describe_connection(found: Me, settings: Settings) -> str:
    app = found.app
    name = f"workspace {app.name!r} (id {app.id_code}, region {app.region})" if app else "an unnamed workspace"
    parts = [f"Connected to {name} with API version {settings.api_version}; the token belongs to admin {found.id}."]
    if app and app.region and not app.region.lower().startswith(settings.region):
        parts.append(
            f"The connection's region is {settings.region}, the workspace's is {app.region}: set region to that one."
        )
    if settings.admin_id is None:
        parts.append("No default sender is set: messages must name from_admin_id.")
    if settings.dry_run:
        parts.append("Dry run is on: nothing will be sent.")
    return " ".join(parts)
