"""
Serve the files of the page.

Airflow mounts this ASGI callable and protects it by nothing, so it has nothing to protect: it knows a fixed list of
static files, and reads no data. The page asks Airflow's REST API with the session of its viewer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

FILES: Final = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "airflow.js": ("airflow.js", "text/javascript; charset=utf-8"),
    "drawing.js": ("drawing.js", "text/javascript; charset=utf-8"),
    "list.js": ("list.js", "text/javascript; charset=utf-8"),
    "task.js": ("task.js", "text/javascript; charset=utf-8"),
}
"""The name and the type of each file, by its path below the prefix. No path of a request ever names a file itself."""

HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    # Airflow shows the page in a frame of its own origin.
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "same-origin",
    "cache-control": "no-cache",
}
"""The headers of every reply: should a script ever get into the page, it cannot run."""


async def page_app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],  # noqa: ARG001 - the signature of ASGI
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """
    Answer one request.

    :param scope: The request, as ASGI describes it.
    :param receive: Reads the body of the request, which nobody looks at.
    :param send: Sends the reply.
    """
    if scope["type"] != "http":
        return
    path: str = scope["path"].removeprefix(scope.get("root_path", "")).removeprefix("/")
    if scope["method"] not in ("GET", "HEAD"):
        status, kind, body = 405, "text/plain; charset=utf-8", b"Only GET and HEAD are allowed."
    elif path not in FILES:
        status, kind, body = 404, "text/plain; charset=utf-8", b"There is no such file."
    else:
        name, kind = FILES[path]
        status, body = 200, _read(name)
    headers = {**HEADERS, "content-type": kind, "content-length": str(len(body))}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _read(name: str) -> bytes:
    from importlib.resources import files

    return files("intercom_provider.ui").joinpath("static", name).read_bytes()
