"""Programs of Debian's packages: where this machine has them, else unpacked into a folder, without installing them."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# Debian keeps the programs of a database server out of the path, for there may be several versions of it.
_ASIDE: Final = "usr/lib/postgresql/*/bin"
_LONGEST: Final = 300.0


class MissingError(Exception):
    """A program is neither on this machine nor to be had; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Program:
    """
    A program that can be run.

    :param path: Where it is.
    :param env: What it needs in its environment besides what there is.
    """

    path: Path
    env: Mapping[str, str] = field(default_factory=dict)


class Packages:
    """
    Debian's packages.

    :param folder: Where those are unpacked that this machine lacks.
    """

    def __init__(self, folder: Path) -> None:
        self._apt = folder / "apt"
        self._root = folder / "root"

    def find(self, name: str, package: str) -> Program:
        """
        Find a program, and fetch it where there is none.

        :param name: The program.
        :param package: The package that brings it.
        :return: The program.
        :raises MissingError: When it is not to be had.
        """
        if in_path := shutil.which(name):
            return Program(Path(in_path))
        if aside := _newest(Path("/"), name):
            return Program(aside)
        path = self._unpacked(name)
        if path is None:
            self._fetch(name, package)
            path = self._unpacked(name)
        if path is None:
            raise MissingError(f"Debian's package {package} brings no {name}: install {name} yourself")
        found = [library for folder in ("lib", "usr/lib") for library in self._root.glob(f"{folder}/**/*.so*")]
        libraries = {str(library.parent) for library in found}
        env = {"LD_LIBRARY_PATH": os.pathsep.join(sorted(libraries))}
        if self._root.joinpath("etc/fonts").is_dir():
            env["FONTCONFIG_SYSROOT"] = str(self._root)
        return Program(path, env)

    def _unpacked(self, name: str) -> Path | None:
        return next(self._root.glob(f"usr/*bin/{name}"), None) or _newest(self._root, name)

    def _fetch(self, name: str, package: str) -> None:
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            raise MissingError(f"there is no {name} here, and no apt-get to fetch it with: install {package} yourself")
        for part in ("state/lists/partial", "cache/archives/partial"):
            self._apt.joinpath(part).mkdir(parents=True, exist_ok=True)
        self._get(name, package, "update")
        self._get(name, package, "install", "--download-only", "--no-install-recommends", "--yes", package)
        for archive in self._apt.glob("cache/archives/*.deb"):
            _run(["dpkg-deb", "--extract", str(archive), str(self._root)], f"{archive.name} cannot be unpacked")
            archive.unlink()

    def _get(self, name: str, package: str, *arguments: str) -> None:
        # With lists and a store of its own it needs nobody's leave, and leaves nothing behind.
        options = {
            "Dir::State": self._apt / "state",
            "Dir::State::status": "/var/lib/dpkg/status",
            "Dir::Cache": self._apt / "cache",
            "Debug::NoLocking": "true",
        }
        words = [word for option, value in options.items() for word in ("-o", f"{option}={value}")]
        wrong = f"there is no {name} here, and Debian's package {package} cannot be fetched: install it yourself"
        _run(["apt-get", "--quiet=2", *words, *arguments], wrong)


def _newest(root: Path, name: str) -> Path | None:
    found = root.glob(f"{_ASIDE}/{name}")
    return max(found, key=lambda path: int(path.parent.parent.name), default=None)


def _run(command: list[str], wrong: str) -> None:
    done = subprocess.run(  # noqa: S603 - the commands stand above
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_LONGEST, check=False
    )
    if done.returncode:
        raise MissingError(f"{wrong}\n{done.stdout}")
