"""The page on which the messages are shown as they would arrive."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.responses import Response

# The page shows texts of strangers: it runs its own script only, and no other page may frame it.
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_FILES: Final = {
    "GET /": ("page.html", "text/html"),
    "GET /_sandbox/page.css": ("page.css", "text/css"),
    "GET /_sandbox/page.js": ("page.js", "text/javascript"),
}


def find_page(method: str, path: str) -> Response | None:
    """Return the page or a file of it.

    :param method: the HTTP method.
    :param path: the path.
    :return: None for any other request.
    """
    file = _FILES.get(f"{method} {path}")
    if file is None:
        return None
    name, media_type = file
    return Response(Path(__file__).with_name(name).read_bytes(), 200, _HEADERS, media_type)
