"""Keep a batch's lists of people out of what Airflow stores and shows of a task's fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any


class HiddenInput:
    """
    A list that Airflow's Rendered Templates tab does not show, because everybody who may read the DAG sees that tab.

    :param value: The value of the field.
    :param noun: What its entries are, in the plural.
    """

    def __init__(self, value: Any, noun: str) -> None:
        self.value = value
        self._noun = noun

    def __str__(self) -> str:
        try:
            return self._noun if isinstance(self.value, str) else f"{len(self.value)} {self._noun}"
        except TypeError:
            return self._noun

    __repr__ = __str__


def hide(value: Any, noun: str) -> Any:
    """
    Hide a list, which names people; a path or URI names nobody.

    :param value: The rendered value of a field.
    :param noun: What its entries are, in the plural.
    :return: The value, hidden where it is not a path.
    """
    # A list may also come as the text of its JSON.
    is_path_text = isinstance(value, str) and value.lstrip()[:1] not in ("[", "{")
    return value if value is None or is_path_text or isinstance(value, HiddenInput) else HiddenInput(value, noun)


def reveal(value: Any) -> Any:
    """
    Return what :func:`hide` has hidden.

    :param value: The value of a field.
    :return: The value as it was rendered.
    """
    return value.value if isinstance(value, HiddenInput) else value


def is_list(value: object) -> bool:
    """
    Check whether a value is a list that stands in the DAG or came from another task, and no template.

    :param value: The value of a field.
    :return: True for lists, sets and objects.
    """
    return isinstance(value, Mapping | AbstractSet) or (isinstance(value, Sequence) and not isinstance(value, str))
