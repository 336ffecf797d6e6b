"""Find programs on this machine, or unpack them from Debian packages into a folder, without installing them."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# Debian keeps the programs of PostgreSQL out of the path, because several versions may be installed.
_POSTGRES_FOLDERS: Final = "usr/lib/postgresql/*/bin"
_MAX_COMMAND_SECONDS: Final = 300.0


class MissingError(Exception):
    """A program is not on this machine and cannot be fetched; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Program:
    """
    A program that can be run.

    :param path: Its path.
    :param env: Environment variables that it needs.
    """

    path: Path
    env: Mapping[str, str] = field(default_factory=dict)


class Packages:
    """
    Debian's packages.

    :param folder: The folder into which missing ones are unpacked.
    """

    def __init__(self, folder: Path) -> None:
        self._apt = folder / "apt"
        self._root = folder / "root"

    def find(self, name: str, package: str) -> Program:
        """
        Find a program on this machine, or fetch its package.

        :param name: The program.
        :param package: The package that contains it.
        :return: The program.
        :raises MissingError: When it cannot be fetched.
        """
        if in_path := shutil.which(name):
            return Program(Path(in_path))
        if newest := _newest(Path("/"), name):
            return Program(newest)
        path = self._unpacked(name)
        if path is None:
            self._fetch(name, package)
            path = self._unpacked(name)
        if path is None:
            raise MissingError(f"Debian's package {package} does not contain {name}: install {name} yourself")
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
            raise MissingError(
                f"{name} is not installed, and there is no apt-get to fetch it: install {package} yourself"
            )
        for part in ("state/lists/partial", "cache/archives/partial"):
            self._apt.joinpath(part).mkdir(parents=True, exist_ok=True)
        self._get(name, package, "update")
        self._get(name, package, "install", "--download-only", "--no-install-recommends", "--yes", package)
        for archive in self._apt.glob("cache/archives/*.deb"):
            _run(["dpkg-deb", "--extract", str(archive), str(self._root)], f"{archive.name} cannot be unpacked")
            archive.unlink()

    def _get(self, name: str, package: str, *arguments: str) -> None:
        # With lists and a cache of its own apt needs no root and changes nothing on the machine.
        options = {
            "Dir::State": self._apt / "state",
            "Dir::State::status": "/var/lib/dpkg/status",
            "Dir::Cache": self._apt / "cache",
            "Debug::NoLocking": "true",
        }
        words = [word for option, value in options.items() for word in ("-o", f"{option}={value}")]
        error = f"{name} is not installed, and Debian's package {package} cannot be fetched: install it yourself"
        _run(["apt-get", "--quiet=2", *words, *arguments], error)


def _newest(root: Path, name: str) -> Path | None:
    found = root.glob(f"{_POSTGRES_FOLDERS}/{name}")
    return max(found, key=lambda path: int(path.parent.parent.name), default=None)


def _run(command: list[str], error: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own commands
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_MAX_COMMAND_SECONDS, check=False
    )
    if done.returncode:
        raise MissingError(f"{error}\n{done.stdout}")
