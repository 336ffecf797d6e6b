"""Run a server from this machine or from Debian's packages, as a user that is not root and in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from tests.support.debian import Packages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.debian import Program

MAX_START_SECONDS: Final = 120.0


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port: int = holder.getsockname()[1]
    return port


class ServerFolder:
    """
    The folder for the files of some servers.

    :param folder: The folder.
    :param log: The file for their output.
    """

    def __init__(self, folder: Path, log: IO[bytes]) -> None:
        self._folder = folder
        self._log = log
        self._user = _server_user()
        self.packages = Packages(folder)

    def make_home(self, name: str) -> ServerHome:
        """Make the folder of one server."""
        return ServerHome(self._folder / name, self._log, self._user)


@contextmanager
def server_folder(folder: Path, log: IO[bytes]) -> Iterator[ServerFolder]:
    """
    Make a folder for servers.

    :param folder: The folder, which is emptied first and removed afterwards.
    :param log: The file for their output.
    :return: The folder, or another one that the servers' user can enter.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755, parents=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if subprocess.run(["test", "-x", folder], check=False, **_server_user()).returncode:  # noqa: S603, S607 - a plain test
            # The clone is in root's home, which the servers' user cannot enter.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="servers-")))
            folder.chmod(0o755)
        yield ServerFolder(folder, log)


def _server_user() -> dict[str, Any]:
    """Return the user of the servers as arguments of `subprocess`, because PostgreSQL refuses to run as root."""
    if os.geteuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}


class ServerHome:
    """The folder of one server, which only its user may enter."""

    def __init__(self, folder: Path, log: IO[bytes], user: dict[str, Any]) -> None:
        self.folder = folder
        self._log = log
        self._user = user
        folder.mkdir(mode=0o700)
        if user:
            os.chown(folder, user["user"], user["group"])

    def write(self, name: str, *lines: str) -> str:
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return str(path)

    def start(self, program: Program, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own commands
            [str(program.path), *arguments],
            cwd=self.folder,
            env={**os.environ, **program.env},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            **self._user,
        )

    @contextmanager
    def running(self, program: Program, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        process = self.start(program, *arguments)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)  # the servers then stop without waiting for their clients
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
