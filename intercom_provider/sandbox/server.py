"""A sandbox that listens on a socket, in a thread of this process."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self, Unpack

from intercom_provider.sandbox.allowed_hosts import AllowedHosts
from intercom_provider.sandbox.settings import SandboxSettings
from intercom_provider.sandbox.state import State
from intercom_provider.sandbox.workspace import DEFAULT_REPLY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    import uvicorn

    from intercom_provider.sandbox.request_log import RequestRecord
    from intercom_provider.sandbox.settings import SandboxOptions
    from intercom_provider.sandbox.workspace import Message


class Sandbox:
    """A local Intercom that runs for the length of a `with` block.

    :param host: the address to listen on; the default is reachable from this machine only.
    :param port: the port; 0 for a free one.
    :param certificate: a PEM file with a private key and its certificate, for https as with the real Intercom; None
        for plain http.
    :param allow_hosts: more names or addresses under which clients ask for it, such as a container's name. It answers
        for its own address and this machine's names only, so that no web page can use it.
    :param options: the fields of `SandboxSettings`.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        certificate: str | None = None,
        allow_hosts: Iterable[str] = (),
        **options: Unpack[SandboxOptions],
    ) -> None:
        self.settings = SandboxSettings(**options)
        self._state = State(self.settings)
        self._address = (host, port)
        self._allowed_hosts = AllowedHosts(host, allow_hosts)
        self._certificate = certificate
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server in a thread.

        :raises OSError: when the address or the certificate cannot be used.
        """
        # Imported here, because a DAG file or a test module may import this class without starting a server.
        import uvicorn

        from intercom_provider.sandbox.app import App
        from intercom_provider.sandbox.cut_reply import make_protocol

        self._state.stopping = False
        config = uvicorn.Config(
            App(self._state, self._allowed_hosts),
            http=make_protocol(),
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=1,
            ssl_certfile=self._certificate,
        )
        # Loaded here, so that an error in the certificate is raised to the caller and not in the thread.
        config.load()
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        listener = socket.create_server(self._address, family=family, backlog=1024)
        self._address = listener.getsockname()[:2]
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="intercom-sandbox", daemon=True
        )
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.002)

    def stop(self) -> None:
        """Stop the server once it has answered the requests in flight; delayed replies are sent at once."""
        if self._server and self._thread:
            self._state.stopping = True
            self._server.should_exit = True
            self._thread.join()

    @property
    def url(self) -> str:
        """The URL on which it listens: `http://127.0.0.1:PORT`."""
        host, port = self._address
        return f"http{'s' if self._certificate else ''}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def token(self) -> str:
        """The access token that it accepts."""
        return self.settings.token

    @property
    def connection(self) -> dict[str, Any]:
        """The Airflow connection to this sandbox: conn_type, host, password, extra."""
        return self._state.connection(self.url)

    @property
    def messages(self) -> list[Message]:
        """The messages that were created, oldest first."""
        with self._state.lock:
            return list(self._state.workspace.messages)

    @property
    def requests(self) -> list[RequestRecord]:
        """The latest API requests, at most 20,000, oldest first."""
        with self._state.lock:
            return list(self._state.log.recent)

    def add_ruleset(
        self,
        ruleset_id: str | int,
        size: int = 0,
        *,
        over: float = 0,
        events: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Send an Outbound message, or send an existing one to more recipients.

        :param ruleset_id: its id.
        :param size: how many recipients join; at least as many as `events`.
        :param over: sandbox seconds over which they join; 0 for at once.
        :param events: one dict for each of the first recipients, with fields that override those of their events. A
            `status` given here stays; without it the status changes over time as usual. `error` is returned with the
            message's own status only.
        """
        with self._state.lock:
            self._state.workspace.add_ruleset(str(ruleset_id), size, over, events, time.time())

    def status(self, whatsapp_message_id: str) -> dict[str, Any]:
        """Return the status of a WhatsApp message, as `GET /messages/whatsapp/status` does.

        :param whatsapp_message_id: the id of a message sent over the API or by a ruleset.
        :raises NotThereError: when there is no such message, or it was sent less than a sandbox second ago.
        """
        with self._state.lock:
            return self._state.workspace.status(whatsapp_message_id, time.time())

    def set_status(self, whatsapp_message_id: str, status: str, *, error: dict[str, str] | None = None) -> None:
        """Force the status of a WhatsApp message from now on.

        :param whatsapp_message_id: the id of a message sent over the API or by a ruleset.
        :param status: `sent`, `delivered`, `read`, `failed` or any other text.
        :param error: {message, details} of a failed message; None for a usual error.
        :raises NotThereError: when there is no such message.
        """
        with self._state.lock:
            self._state.workspace.set_status(whatsapp_message_id, status, error, time.time())

    def reply(self, message_id: str, body: str = DEFAULT_REPLY) -> str:
        """Reply to a message as the contact.

        :param message_id: Intercom's id of the message.
        :param body: the text of the reply.
        :return: the id of the conversation. Searches find it 5 to 10 sandbox seconds later.
        :raises NotThereError: when there is no such message.
        """
        with self._state.lock:
            return self._state.workspace.reply(message_id, body, time.time())

    def order_fault(self, fault: str, requests: int | None = None, *, endpoint: str | None = None) -> None:
        """Make the next requests go wrong, from the next one on.

        :param fault: `permission`, `plan`, `unsubscribed`, `error`, `unavailable` or `cut`.
        :param requests: how many requests; None for all until `reset`, 0 for no more.
        :param endpoint: the requests that are meant, such as `POST /messages`; None for all.
        :raises ValueError: when there is no such fault.
        """
        with self._state.lock:
            self._state.faults.order(fault, requests, endpoint)

    def reset(self) -> None:
        """Remove all messages, contacts, rulesets, exports, requests and ordered faults. The settings stay."""
        self._state.reset()
