"""Explaining what goes wrong with templates: placeholders of other systems, numbers that rendering makes of text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from intercom_provider.api.errors import InvalidInputError, Problem
from intercom_provider.api.values import IS_NUMBER

if TYPE_CHECKING:
    import jinja2

_PLACEHOLDER: Final = re.compile(r"\{\{-?\s{0,9}[0-9]{1,4}\s{0,9}-?\}\}")
_RAW: Final = re.compile(r"\{%-?\s{0,9}(raw|endraw)\s{0,9}-?%\}")
_FOREIGN: Final = (
    "{{1}} is a placeholder of Meta's, and Airflow's template engine would make a bare 1 of it: WhatsApp fills it from "
    "components, in their order. To send it as text, write {% raw %}{{1}}{% endraw %}"
)
_LIQUID: Final = (
    'Liquid\'s {{ name | fallback: "there" }} is {{ name | default("there") }} in Jinja; what is to go out with its '
    "braces stands between {% raw %} and {% endraw %}"
)
_NATIVE: Final = (
    "The DAG has render_template_as_native_obj, which makes a number of a template that looks like one: end the "
    "template so that it stays text"
)


def find_foreign_placeholders(name: str, value: object) -> Iterator[Problem]:
    """
    Find Meta's placeholders in a template, of which Airflow's engine would make a bare number.

    :param name: The field.
    :param value: Its value before it is rendered.
    :return: One problem for each text that holds one outside ``{% raw %}``.
    """
    if isinstance(value, str) and "{{" in value and any(map(_PLACEHOLDER.search, _texts_outside_raw(value))):
        yield Problem(name, _FOREIGN)
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from find_foreign_placeholders(f"{name}.{key}", entry)
    elif isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            yield from find_foreign_placeholders(f"{name}.{index}", entry)


def _texts_outside_raw(text: str) -> list[str]:
    words = ["endraw", *_RAW.split(text)]
    return [part for word, part in zip(words[::2], words[1::2], strict=True) if word != "raw"]


@contextmanager
def explain_templates(fields: Mapping[str, object], jinja_env: jinja2.Environment) -> Iterator[None]:
    """
    Explain the errors of rendering that another system's placeholders cause.

    :param fields: The fields that are about to be rendered, by name.
    :param jinja_env: The environment that renders them.
    :raises InvalidInputError: With the field, for Meta's placeholders, and for what is no template, such as Liquid.
    """
    from intercom_provider.api.message import MESSAGE_FIELDS

    # In a path or an option, a number in braces is odd, and reaches nobody.
    texts = {name: value for name, value in fields.items() if name in (*MESSAGE_FIELDS, "messages", "defaults")}
    if problems := [problem for each in texts.items() for problem in find_foreign_placeholders(*each)]:
        raise InvalidInputError(problems)
    try:
        yield
    except Exception as error:
        from jinja2 import TemplateSyntaxError

        if not isinstance(error, TemplateSyntaxError):
            raise
        name = next((name for name, value in fields.items() if _has_wrong_syntax(value, jinja_env)), "template")
        raise InvalidInputError.of(name, f"is no template of Airflow's ({error.message}): {_LIQUID}") from None


def _has_wrong_syntax(value: object, jinja_env: jinja2.Environment) -> bool:
    from jinja2 import TemplateSyntaxError

    if isinstance(value, Mapping):
        return any(_has_wrong_syntax(entry, jinja_env) for entry in value.values())
    if isinstance(value, list | tuple):
        return any(_has_wrong_syntax(entry, jinja_env) for entry in value)
    try:
        return isinstance(value, str) and jinja_env.from_string(value) is None
    except TemplateSyntaxError:
        return True


def explain_native_numbers(error: InvalidInputError) -> InvalidInputError:
    """
    Add to the errors of a DAG with native rendering where a number may come from.

    :param error: The error of the rendered fields.
    :return: The same, with advice that fits templates.
    """
    return InvalidInputError(
        problem._replace(text=f"{problem.text}. {_NATIVE}") if problem.text.startswith(IS_NUMBER) else problem
        for problem in error.problems
    )
