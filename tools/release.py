"""
Check whether a tag may be released: it must match the package's version and the changelog's first heading.

``make check-release TAG=v1.2.3``
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import intercom_provider

CHANGELOG = Path(__file__).resolve().parents[1] / "CHANGELOG.md"


def mistakes(tag: str, version: str, changelog: str) -> list[str]:
    """
    Compare a tag with the version and the changelog.

    :param tag: The tag, as ``v1.2.3``.
    :param version: The package's version.
    :param changelog: The changelog's text.
    :return: One sentence for each obstacle to the release; empty when there is none.
    """
    found = []
    if tag != f"v{version}":
        found.append(f"The tag is {tag!r}, and the version in intercom_provider/__init__.py makes it 'v{version}'.")
    headings: list[str] = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    unreleased = changelog.partition("## [Unreleased]\n")[2].partition("\n## ")[0]
    if unreleased.strip():
        found.append("CHANGELOG.md still has something under [Unreleased].")
    released = [heading for heading in headings if heading != "[Unreleased]"]
    if not released or not re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", released[0]):
        found.append(f"CHANGELOG.md has no heading '## [{version}] - YYYY-MM-DD' above those of older versions.")
    return found


def main() -> int:
    """
    Print the obstacles to releasing the tag of the command line.

    :return: The exit status.
    """
    found = mistakes(" ".join(sys.argv[1:]), intercom_provider.__version__, CHANGELOG.read_text(encoding="utf-8"))
    print("\n".join(found) or f"{intercom_provider.__version__} may be released.")  # noqa: T201 - the result of a command
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
