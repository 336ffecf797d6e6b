"""Look for faults of accessibility with axe-core."""

from __future__ import annotations

from importlib.metadata import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.browser.chromium import Browser

_RUN = "return axe.run(document, {resultTypes: ['violations']})"


def find_faults(page: Browser) -> list[str]:
    """
    Return the faults of the page that is shown which axe-core counts as serious or critical.

    :param page: The browser.
    :return: A line for each: its rule, what it means, and where it is.
    """
    (script,) = [path for path in files("axe-playwright-python") or () if path.name == "axe.min.js"]
    page.evaluate(script.read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate(_RUN)
    assert found["testEngine"]["name"] == "axe-core"
    return [
        f"{fault['id']} ({fault['impact']}): {fault['help']}: {[node['target'] for node in fault['nodes']]}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
