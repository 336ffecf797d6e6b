"""A preview as one HTML page to open in a browser, in which nothing of a message can run."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.cli.preview_result import write_moment, write_numbers, write_zones

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.cli.preview_result import Preview, Shown

# A body is shown in a frame without scripts, forms and an origin, and the policy holds in it, too: it may load pictures
# and go nowhere.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; base-uri 'none'"
# As a mail program does where the body says nothing else. A link that was followed would leave an empty frame.
_BODY_STYLE: Final = (
    "<style>body { font: 15px/1.5 system-ui, sans-serif; margin: 0.8rem 1rem } a { pointer-events: none }</style>"
)
_LINE: Final = re.compile(r"<(?:br|div|li|tr)\b", re.IGNORECASE)
_PARAGRAPH: Final = re.compile(r"<(?:p|h[1-6]|hr|ul|ol)\b", re.IGNORECASE)
_PICTURE: Final = re.compile(r"<img\b", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^<>]*>")
# A frame cannot grow with what is in it, so its lines are estimated; what does not fit can be scrolled to.
_CHARS_PER_LINE: Final = 85
_LINES_PER_PICTURE: Final = 6
_MIN_LINES: Final = 1
_MAX_LINES: Final = 22


def as_lines(preview: Preview) -> Iterator[str]:
    """
    Draw a preview.

    :param preview: The preview.
    :return: The lines of the page.
    """
    style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width"><title>Preview</title>'
    yield f"<style>\n{style}</style></head><body>"
    yield from _summary(preview)
    yield from _windows(preview)
    yield from _invalid_rows(preview)
    if preview.shown:
        yield "<h2>Messages</h2>"
    for each in preview.shown:
        yield from _message(preview.numbered_by, each)
    yield "</body></html>"


def _summary(preview: Preview) -> Iterator[str]:
    yield "<header><h1>Preview</h1>"
    yield f"<p>Nothing has been sent. {preview.duration}</p></header><dl>"
    for name, count in preview.counts.items():
        empty = "" if count else ' class="none"'
        yield f"<div{empty}><dt>{name.replace('_', ' ')}</dt><dd>{count:,}</dd></div>"
    yield "</dl>"


def _windows(preview: Preview) -> Iterator[str]:
    if not preview.held:
        return
    yield "<h2>When they go out</h2><table>"
    yield f"<tr><td>{preview.counts['to_send']:,}</td><td>now</td><td></td></tr>"
    for opens_at, zones in preview.held:
        yield f"<tr><td>{zones.total():,}</td><td>from {write_moment(opens_at)} on</td>"
        yield f"<td>{html.escape(write_zones(zones))}</td></tr>"
    yield "</table>"


def _invalid_rows(preview: Preview) -> Iterator[str]:
    if not preview.causes:
        return
    yield '<h2>Invalid rows</h2><ul class="invalid">'
    for reason, numbers in preview.causes:
        times = f"{len(numbers):,} times: " if len(numbers) > 1 else ""
        yield f"<li>{html.escape(reason)}<small>{times}{preview.numbered_by} {write_numbers(numbers)}</small></li>"
    yield "</ul>"


def _message(numbered_by: str, shown: Shown) -> Iterator[str]:
    wire = shown.wire
    head = [f"{numbered_by} {shown.number}", *(_head(wire) if wire else ())]
    yield f'<article><p class="head">{"".join(f"<span>{html.escape(each)}</span>" for each in head)}</p>'
    if shown.reason:
        yield f'<p class="reason">{html.escape(shown.reason)}</p>'
    if wire is not None:
        yield from _content(wire)
        wire_text = html.escape(json.dumps(wire, ensure_ascii=False, indent=2))
        yield f"<details><summary>The request</summary><pre>{wire_text}</pre></details>"
    yield "</article>"


def _head(wire: dict[str, Any]) -> Iterator[str]:
    yield wire["message_type"]
    for name in ("to", "cc", "bcc"):
        people = wire.get(name, ())
        for person in people if isinstance(people, list) else [people] if people else ():
            yield f"{name} {_address(person)}"
    for name in ("template", "locale"):
        if name in wire:
            yield f"{name} {wire[name]}"


def _address(person: dict[str, Any]) -> str:
    address = next(str(person[name]) for name in ("phone", "email", "user_id", "id") if name in person)
    return f"{person['name']} {address}" if "name" in person else address


def _content(wire: dict[str, Any]) -> Iterator[str]:
    if "subject" in wire:
        yield f'<p class="subject">{html.escape(wire["subject"])}</p>'
    if "components" in wire:
        yield '<div class="bubble whatsapp">'
        yield from _components(wire["components"])
        yield "</div>"
    elif wire["message_type"] == "sms":
        yield f'<div class="bubble sms">{html.escape(wire["body"])}</div>'
    else:
        body = html.escape(_BODY_STYLE + wire["body"])
        yield f'<iframe sandbox="" title="body" style="height: {_height(wire["body"])}rem" srcdoc="{body}"></iframe>'


def _components(components: list[dict[str, Any]], prefix: str = "") -> Iterator[str]:
    """List the parameters of each component in their order, in which the template numbers them."""
    if not components:
        yield "<p>no parameters</p>"
    for component in components:
        label = " ".join(str(component[name]) for name in ("type", "sub_type", "index") if name in component)
        yield f"<p>{html.escape(prefix + label)}</p><ol>"
        for parameter in component.get("parameters") or ():
            text = parameter.get("text", parameter)
            yield f"<li>{html.escape(text if isinstance(text, str) else json.dumps(text, ensure_ascii=False))}</li>"
        yield "</ol>"
        for number, card in enumerate(component.get("cards") or (), 1):
            yield from _components(card.get("components") or [], f"card {number}, ")


def _height(body: str) -> float:
    """Estimate how high a body is, in rem."""
    text = len(_TAG.sub("", body)) / _CHARS_PER_LINE
    breaks = len(_LINE.findall(body)) + 2 * len(_PARAGRAPH.findall(body))
    lines = text + breaks + _LINES_PER_PICTURE * len(_PICTURE.findall(body))
    return round(1.4 * min(max(lines, _MIN_LINES), _MAX_LINES) + 2, 1)
