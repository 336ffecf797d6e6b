"""A preview as one HTML page to open in a browser."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.cli.preview_result import Preview, Shown

# A body is shown in a frame without scripts, forms and an origin; what it loads are pictures.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src https: data:"
_HEAD: Final = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>Preview</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 48rem; color: #222 }}
td, th {{ padding: .2rem 1rem .2rem 0; text-align: left }}
article {{ border: 1px solid #ccc; border-radius: 8px; padding: 1rem; margin: 1rem 0 }}
iframe {{ width: 100%; height: 16rem; border: 0; background: #fff }}
pre {{ white-space: pre-wrap; background: #f5f5f5; padding: 1rem }}
</style></head><body><h1>Preview</h1>
"""


def as_page(preview: Preview) -> str:
    """
    Draw a preview.

    :param preview: The preview.
    :return: The page, in which nothing of a message can run.
    """
    return "\n".join([_HEAD, *_parts(preview), "</body></html>\n"])


def _parts(preview: Preview) -> Iterator[str]:
    yield "<table>"
    for name, count in preview.counts.items():
        yield f"<tr><th>{name.replace('_', ' ')}</th><td>{count:,}</td></tr>"
    yield f"</table><p>It would take about {preview.seconds:,.0f} s at the rate limit of one app.</p>"
    if preview.invalid:
        yield "<h2>Invalid rows</h2><ul>"
        for each in preview.invalid:
            yield f"<li>{preview.numbered_by} {each.number}: {html.escape(each.reason or '')}</li>"
        yield "</ul>"
    for each in preview.shown:
        yield from _message(preview.numbered_by, each)


def _message(numbered_by: str, shown: Shown) -> Iterator[str]:
    reason = f": {html.escape(shown.reason)}" if shown.reason else ""
    yield f"<article><h2>{numbered_by} {shown.number}{reason}</h2>"
    if shown.wire is not None:
        wire = shown.wire
        yield f"<p>{_escape(wire['message_type'])} to {_escape(wire['to'])}</p>"
        if "subject" in wire:
            yield f"<p><b>{_escape(wire['subject'])}</b></p>"
        if "body" in wire:
            is_html = wire["message_type"] != "sms"
            body = wire["body"] if is_html else f"<pre>{html.escape(wire['body'])}</pre>"
            yield f'<iframe sandbox="" srcdoc="{html.escape(body)}"></iframe>'
        if "components" in wire:
            yield f"<p>Template {_escape(wire['template'])}, its parameters in their order:</p><ol>"
            yield from (f"<li>{_escape(each)}</li>" for each in _parameters(wire["components"]))
            yield "</ol>"
        yield f"<pre>{html.escape(json.dumps(wire, ensure_ascii=False, indent=2))}</pre>"
    yield "</article>"


def _parameters(components: list[dict[str, Any]]) -> Iterator[Any]:
    for component in components:
        for parameter in component.get("parameters") or ():
            yield parameter.get("text", parameter)
        for card in component.get("cards") or ():
            yield from _parameters(card.get("components") or [])


def _escape(value: Any) -> str:
    return html.escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
