"""A PostgreSQL and a Redis on loopback that run for the length of a `with` block."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from tests.support.airflow_instance import free_port
from tests.support.debian import Packages
from tests.support.eventually import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.debian import Program

_MAX_START_SECONDS: Final = 120.0
_OWNER: Final = "airflow"


@dataclass(frozen=True, slots=True)
class Servers:
    """
    The addresses of the servers.

    :param postgres: The database's address, without its scheme.
    :param redis: The address of Redis.
    """

    postgres: str
    redis: str


@contextmanager
def serving(folder: Path, log: IO[bytes]) -> Iterator[Servers]:
    """
    Run both servers.

    :param folder: The folder for their files, which is emptied first and removed afterwards.
    :param log: The file for their output.
    :return: Their addresses.
    :raises MissingError: When one is not on this machine and cannot be fetched.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755, parents=True)
    user = _server_user()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if subprocess.run(["test", "-x", folder], check=False, **user).returncode:  # noqa: S603, S607 - a plain test
            # The clone is in root's home, which the servers' user cannot enter.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="servers-")))
            folder.chmod(0o755)
        packages = Packages(folder)
        yield Servers(
            stack.enter_context(_postgres(packages, _Home(folder / "postgres", log, user))),
            stack.enter_context(_redis(packages, _Home(folder / "redis", log, user))),
        )


def _server_user() -> dict[str, Any]:
    """Return the user of the servers as arguments of `subprocess`, because PostgreSQL refuses to run as root."""
    if os.geteuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}


class _Home:
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
            process.send_signal(signal.SIGINT)  # both then stop without waiting for their clients
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def _postgres(packages: Packages, home: _Home) -> Iterator[str]:
    initdb, postgres = (packages.find(name, "postgresql") for name in ("initdb", "postgres"))
    password, port, data = secrets.token_urlsafe(), free_port(), home.folder / "data"
    making = home.start(
        initdb,
        f"--pgdata={data}",
        f"--username={_OWNER}",
        f"--pwfile={home.write('password', password)}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
    )
    assert making.wait(timeout=_MAX_START_SECONDS) == 0, "PostgreSQL could not create its database"
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 200,
        # The database is removed after the tests and need not survive a power cut.
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
    }
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with home.running(postgres, "-D", str(data), *words) as process:

        def ready() -> bool:
            assert process.poll() is None, "PostgreSQL ended"
            # Its own status file, because it listens before it accepts queries.
            with suppress(FileNotFoundError):
                return data.joinpath("postmaster.pid").read_text(encoding="utf-8").rstrip().endswith("ready")
            return False

        until(ready, "PostgreSQL", within=_MAX_START_SECONDS)
        yield f"{_OWNER}:{password}@127.0.0.1:{port}/postgres"


@contextmanager
def _redis(packages: Packages, home: _Home) -> Iterator[str]:
    program = packages.find("redis-server", "redis-server")
    password, port = secrets.token_urlsafe(), free_port()
    settings = home.write(
        "redis.conf", "bind 127.0.0.1", f"port {port}", f"requirepass {password}", 'save ""', "appendonly no"
    )
    with home.running(program, settings) as process:

        def ready() -> bool:
            assert process.poll() is None, "Redis ended"
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
            return False

        until(ready, "Redis", within=_MAX_START_SECONDS)
        yield f"redis://:{password}@127.0.0.1:{port}/0"
