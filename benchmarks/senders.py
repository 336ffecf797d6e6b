"""Send many messages with the alternatives to this provider: the official SDK, bare httpx, bare aiohttp."""

from __future__ import annotations

import asyncio
import queue
import ssl
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import aiohttp
import httpx
from intercom import (
    AsyncIntercom,
    CreateMessageRequest_Inapp,
    CreateMessageRequestFrom,
    CreateMessageRequestTo,
    Intercom,
)

ADMIN: Final = 814860
BODY: Final = "<p>Hello</p>"

Send: TypeAlias = Callable[[str, str, Sequence[str], int], None]
"""Sends one message to each of these contacts: URL, token, the contacts' ids, how many at once."""


def wire(contact: str) -> dict[str, Any]:
    """
    Return a message as Intercom takes it.

    :param contact: The recipient's id.
    :return: The request's body.
    """
    return {
        "message_type": "inapp",
        "body": BODY,
        "from": {"type": "admin", "id": ADMIN},
        "to": {"type": "user", "id": contact},
    }


def headers(token: str) -> dict[str, str]:
    """
    Return the headers of a request to Intercom.

    :param token: The access token.
    :return: The headers.
    """
    return {"Authorization": f"Bearer {token}", "Accept": "application/json", "Intercom-Version": "2.17"}


def async_sdk(url: str, token: str, contacts: Sequence[str], at_once: int) -> None:
    """Send with AsyncIntercom, a task a message under a semaphore."""
    asyncio.run(_gather(AsyncIntercom(base_url=url, token=token), contacts, at_once))


def async_sdk_kept(url: str, token: str, contacts: Sequence[str], at_once: int) -> None:
    """Send with AsyncIntercom as before, with a client that keeps as many connections as are in use."""
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)

    async def send() -> None:
        async with httpx.AsyncClient(limits=limits) as client:
            await _gather(AsyncIntercom(base_url=url, token=token, httpx_client=client), contacts, at_once)

    asyncio.run(send())


async def _gather(intercom: AsyncIntercom, contacts: Sequence[str], at_once: int) -> None:
    limit = asyncio.Semaphore(at_once)

    async def one(contact: str) -> None:
        async with limit:
            await intercom.messages.create(request=_request(contact))

    await asyncio.gather(*map(one, contacts))


def sync_sdk(url: str, token: str, contacts: Sequence[str], _: int) -> None:
    """Send with Intercom in a loop, one message after the other."""
    client = Intercom(base_url=url, token=token)
    for contact in contacts:
        client.messages.create(request=_request(contact))


def sync_httpx(url: str, token: str, contacts: Sequence[str], _: int) -> None:
    """Send with one httpx client in a loop, one message after the other."""
    with httpx.Client(base_url=url, headers=headers(token)) as client:
        _send_all(client, contacts)


def httpx_tasks(url: str, token: str, contacts: Sequence[str], at_once: int) -> None:
    """Send with an async httpx client for each task; one for all of them would be slower."""
    context, left = httpx.create_ssl_context(), iter(contacts)

    async def task() -> None:
        async with httpx.AsyncClient(base_url=url, headers=headers(token), verify=context) as client:
            for contact in left:
                (await client.post("/messages", json=wire(contact))).raise_for_status()

    async def send() -> None:
        await asyncio.gather(*(task() for _ in range(at_once)))

    asyncio.run(send())


def httpx_threads(url: str, token: str, contacts: Sequence[str], at_once: int) -> None:
    """Send with a sync httpx client for each thread."""
    context = httpx.create_ssl_context()
    left: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    for contact in [*contacts, *[None] * at_once]:
        left.put(contact)

    def work() -> None:
        with httpx.Client(base_url=url, headers=headers(token), verify=context) as client:
            _send_all(client, iter(left.get, None))

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def bare_aiohttp(url: str, token: str, contacts: Sequence[str], at_once: int) -> None:
    """Send with one aiohttp session: the most that this machine and the sandbox allow."""
    left = iter(contacts)

    async def task(session: aiohttp.ClientSession) -> None:
        for contact in left:
            async with session.post("/messages", json=wire(contact)) as reply:
                reply.raise_for_status()
                await reply.json()

    async def send() -> None:
        # aiohttp makes its own context at import, before the benchmark has set its certificate.
        connector = aiohttp.TCPConnector(limit=at_once, ssl=ssl.create_default_context())
        async with aiohttp.ClientSession(url, headers=headers(token), connector=connector) as session:
            await asyncio.gather(*(task(session) for _ in range(at_once)))

    asyncio.run(send())


def _send_all(client: httpx.Client, contacts: Iterable[str]) -> None:
    for contact in contacts:
        client.post("/messages", json=wire(contact)).raise_for_status().json()


def _request(contact: str) -> Any:
    sender, recipient = (
        CreateMessageRequestFrom(type="admin", id=ADMIN),
        CreateMessageRequestTo(type="user", id=contact),
    )
    return CreateMessageRequest_Inapp(body=BODY, from_=sender, to=recipient)
