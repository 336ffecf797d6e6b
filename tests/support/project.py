"""The project's folder, the declarations in its pyproject.toml and the pins in its locks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

PROJECT: Final = Path(__file__).resolve().parents[2]


def metadata() -> dict[str, Any]:
    """Read the table `[project]` of pyproject.toml."""
    project: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def declared_pythons() -> list[str]:
    """Read the versions of Python that pyproject.toml declares, such as `3.11`, lowest first."""
    prefix = "Programming Language :: Python :: 3."
    classifiers: list[str] = metadata()["classifiers"]
    minors = sorted(int(line.removeprefix(prefix)) for line in classifiers if line.startswith(prefix))
    return [f"3.{minor}" for minor in minors]


def pins(lock: str) -> dict[str, str]:
    """Read the versions that a lock pins by package, and check that each package has a hash."""
    text = (PROJECT / lock).read_text(encoding="utf-8")
    hashed = re.findall(r"^([a-z0-9._-]+)==(\S+).*?\\\n    --hash=sha256:", text, flags=re.MULTILINE)
    assert len(hashed) == len(re.findall(r"^[a-z0-9]", text, flags=re.MULTILINE))
    return dict(hashed)
