"""
Write the API reference, docs/reference.md, from the docstrings: `make reference`.

The package is parsed, not imported. With ``--check`` nothing is written, and a page that is not up to date is an error.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import griffe

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "reference.md"

# The objects that users write into their DAGs and tests, by the path from which they import them.
PUBLIC: Final = {
    "Operators": ["operators.message.SendMessageOperator", "operators.message.SendMessageBatchOperator"],
    "Sensors": ["sensors.message_status.MessageStatusSensor", "sensors.message_reply.MessageReplySensor"],
    "Triggers": [
        "triggers.ruleset.RulesetSettledTrigger",
        "triggers.message_status.MessageStatusTrigger",
        "triggers.message_reply.MessageReplyTrigger",
    ],
    "Alerts": ["notifications.message.IntercomNotifier"],
    "The hook": ["hooks.intercom.IntercomHook"],
    "What the hook returns": [
        "api.models.Receipt",
        "api.models.WhatsAppStatus",
        "api.models.WhatsAppError",
        "api.models.StatusEvent",
    ],
    "Retries and the button": ["retry.IntercomRetryPolicy", "links.IntercomLink"],
    "What tasks raise": [
        "exceptions.InvalidFieldError",
        "exceptions.IntercomRefusedError",
        "exceptions.MessageUnconfirmedError",
        "exceptions.DeliveryFailedError",
        "exceptions.as_airflow_errors",
    ],
    "What the hook raises": [
        "api.errors.IntercomError",
        "api.errors.InvalidInputError",
        "api.errors.Problem",
        "api.errors.StoppedError",
        "api.errors.ExpiredError",
        "api.errors.UnreachableError",
        "api.errors.UnconfirmedError",
        "api.errors.CommonRefusalError",
        "api.errors.PagingError",
        "api.errors.ApiError",
        "api.errors.RefusedError",
        "api.errors.UnauthorizedError",
        "api.errors.ForbiddenError",
        "api.errors.NotFoundError",
        "api.errors.ContactNotFoundError",
        "api.errors.RateLimitedError",
        "api.errors.ServerError",
        "api.errors.ForeignReplyError",
    ],
    "Results": ["results.read_results"],
    "Tests and the sandbox": ["testing.intercom_sandbox", "sandbox.Sandbox"],
}
# The classes whose methods users call. Those of the others are called by Airflow and not documented.
_CALLED: Final = {"IntercomHook", "Sandbox", "InvalidInputError", "ApiError"}
_AIRFLOWS_OWN: Final = {"get_ui_field_behaviour", "get_connection_form_widgets", "settings", "aget_settings"}

_HEAD: Final = """# API reference

Generated from the docstrings by `make reference`: change those, not this page. Explanations and examples are on
the other pages.
"""


def main() -> int:
    """
    Write the page, or check that it is up to date.

    :return: The exit status.
    """
    page = render()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == page:
        return 0
    sys.stderr.write("docs/reference.md is out of date: run `make reference`\n")
    return 1


def render() -> str:
    """
    Render the page.

    :return: The Markdown.
    """
    package = griffe.load(
        "intercom_provider", search_paths=[ROOT], docstring_parser="sphinx", docstring_options={"warnings": False}
    )
    contents, sections = [], []
    for title, paths in PUBLIC.items():
        contents.append(f"- {title}: " + ", ".join(f"[{name}](#{name.lower()})" for name in map(_name, paths)))
        sections.append(f"## {title}\n")
        sections += [line for path in paths for line in _object(path, package[path])]
    return "\n".join([_HEAD, *contents, "", *sections]).rstrip() + "\n"


def _name(path: str) -> str:
    return path.rpartition(".")[2]


def _object(path: str, found: Any) -> Iterator[str]:
    module, _, name = f"intercom_provider.{path}".rpartition(".")
    target = found.final_target if found.is_alias else found
    yield f"### {name}\n"
    bases = [f"`{base}`" for base in (target.bases if target.is_class else ()) if not str(base).startswith("_")]
    yield f"`from {module} import {name}`" + (f"; a kind of {' and '.join(bases)}" if bases else "") + "\n"
    if "contextmanager" in [str(decorator.value) for decorator in target.decorators]:
        yield f"`with {name}({_arguments(target)}): ...`\n"
    yield from _described(target)
    if name in _CALLED:
        for member in target.members.values():
            if _is_shown(member):
                yield from _member(member)


def _is_shown(member: Any) -> bool:
    if member.name.startswith("_") or member.name in _AIRFLOWS_OWN or not member.docstring:
        return False
    return member.is_function or "property" in member.labels


def _member(member: Any) -> Iterator[str]:
    if member.is_function:
        awaited = "await " if "async" in member.labels and "Iterator" not in str(member.returns) else ""
        returned = f" -> {member.returns}" if str(member.returns) not in ("None", "Self") else ""
        yield f"#### {member.name}\n"
        yield f"`{awaited}{member.name}({_arguments(member)}){returned}`\n"
    else:
        yield f"#### {member.name}\n"
        yield f"`{member.name}: {member.annotation}`\n"
    yield from _described(member)


def _arguments(function: Any) -> str:
    words, named = [], False
    for parameter in function.parameters:
        if parameter.name in ("self", "cls"):
            continue
        kind = parameter.kind.value
        if kind == "keyword-only" and not named:
            words.append("*")
            named = True
        stars = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        default = "" if stars or parameter.default is None else f"={parameter.default}"
        words.append(f"{stars}{parameter.name}{default}")
    return ", ".join(words)


def _described(found: Any) -> Iterator[str]:
    for part in found.docstring.parsed:
        kind, value = part.kind.value, part.value
        if kind == "text":
            yield f"{_markdown(value)}\n"
        elif kind == "parameters" and found.is_class:
            # Users of a model read its fields; they never call its constructor.
            first = "argument" if "__init__" in found.members else "field"
            yield f"| {first} | type | default | what it is for |\n|---|---|---|---|"
            yield from (_row(found, parameter) for parameter in value)
            yield ""
        elif kind == "parameters":
            yield from (f"- `{each.name}`: {_line(each.description)}" for each in value)
            yield ""
        elif kind == "returns":
            yield from (f"Returns: {_line(each.description)}\n" for each in value)
        elif kind == "raises":
            yield "Raises:\n"
            yield from (f"- `{each.annotation}`: {_line(each.description)}" for each in value)
            yield ""


def _row(owner: Any, documented: Any) -> str:
    """Render the row of a constructor's argument or of a model's field."""
    name = documented.name
    argument = next((each for each in owner.parameters if each.name.lstrip("*") == name), None)
    if argument is not None and "variadic" in argument.kind.value:
        annotation, shown = argument.annotation, ""
    else:
        annotation, default = _declared(argument, owner.members.get(name))
        # A default that names an attribute of the class is shown as the attribute's value.
        named = owner.members.get(default) if default else None
        shown = f"`{named.value if named is not None else default}`" if default is not None else "required"
    kind = f"`{_cell(str(annotation))}`" if annotation is not None else ""
    return f"| `{name}` | {kind} | {_cell(shown)} | {_cell(_line(documented.description))} |"


def _declared(argument: Any, field: Any) -> tuple[Any, str | None]:
    """Return the annotation and the default of an argument, else of a model's field."""
    if argument is not None:
        return argument.annotation, None if argument.default is None else str(argument.default)
    default = None if field.value is None else str(field.value)
    if default is not None and default.startswith("Field("):
        written = re.search(r"\bdefault=([^,)]+)", default)
        default = written[1] if written else None
    return field.annotation, default


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _line(text: str) -> str:
    return _markdown(" ".join(text.split()))


def _markdown(text: str) -> str:
    """Convert the markup of a docstring to Markdown."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    text = text.replace("``", "`")
    # Outside of code, Markdown would drop text that looks like an HTML tag.
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else part.replace("<", r"\<") for part in parts)


if __name__ == "__main__":
    sys.exit(main())
