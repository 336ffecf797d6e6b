"""A connection that ends without a reply.

ASGI knows no such reply, so that the server's connections put a way to end them into the state of each request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

if TYPE_CHECKING:
    import asyncio

    from starlette.types import Receive, Scope, Send

_ABORT: Final = "abort"


class CutReply(Response):
    """Closes the connection instead of replying."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Close the connection, and wait until the server has seen it."""
        scope["state"][_ABORT]()
        while (await receive())["type"] != "http.disconnect":
            pass


def make_protocol() -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol, whose connections `CutReply` can close."""
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    base: Any = AutoHTTPProtocol

    class Protocol(base):  # type: ignore[misc] # uvicorn chooses the class when it is imported
        def connection_made(self, transport: asyncio.Transport) -> None:
            self.app_state: dict[str, Any] = {**self.app_state, _ABORT: transport.abort}
            super().connection_made(transport)

    return Protocol


NO_STATUS: Final = 0
"""The status of a request whose connection was cut, in the log of requests."""
