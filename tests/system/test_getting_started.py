"""Every command of docs/getting-started.md works as it is written."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.docs.pages import blocks, section
from tests.support.project import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PAGE = PROJECT / "docs" / "getting-started.md"


def commands(heading: str) -> list[str]:
    return re.findall(r"^\$ (.+)$", section(PAGE, heading), re.MULTILINE)


class Terminal:
    """A shell in a new user's folder, in which the package is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self.environment = {
            **kept,
            "PATH": f"{sys.exec_prefix}/bin:{kept['PATH']}",
            "PYTHONPATH": str(PROJECT),
            "PWD": str(folder),
        }

    def export(self, command: str) -> None:
        for word in shlex.split(command)[1:]:
            name, _, value = word.partition("=")
            self.environment[name] = value.replace("$PWD", str(self.folder))

    def run(self, command: str) -> str:
        ended = subprocess.run(  # noqa: S603 - the page's own commands
            shlex.split(command),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        return ended.stdout + ended.stderr


@contextmanager
def started(command: str, environment: Mapping[str, str]) -> Iterator[list[str]]:
    """Run the sandbox, and return the lines that it prints at its start."""
    with subprocess.Popen(  # noqa: S603 - the page's own commands
        shlex.split(command), env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            printed: list[str] = []
            for line in process.stdout:
                printed.append(line.strip())
                if printed[-1].startswith("curl"):
                    break
            yield printed
        finally:
            process.send_signal(signal.SIGINT)


def test_the_first_steps_work_as_they_are_written(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    venv, activate, pip, export, migrate = commands("Install")
    assert (venv, activate, pip) == (
        "python3 -m venv venv",
        ". venv/bin/activate",
        "pip install airflow-provider-intercom",
    )
    terminal.export(export)
    terminal.run(migrate)
    _, sandbox, check = commands("A local Intercom")
    send, report = commands("A first message")
    (test,) = commands("A first DAG")
    with started(f"{sandbox} --port 0", terminal.environment) as printed:
        (connection,) = (line for line in printed if line.startswith("export AIRFLOW_CONN_INTERCOM_DEFAULT="))
        terminal.export(connection)
        assert "The token may\n  yes" in terminal.run(check)
        assert '"outcome": "sent"' in terminal.run(send)
        (address,) = re.findall(r"http://\S+", printed[0])
        assert '"messages":1' in terminal.run(report.replace("http://127.0.0.1:8765", address))
        (dag,) = blocks(PAGE, "python")
        (name,) = re.findall(r"Save this as `(.+?)`", section(PAGE, "A first DAG"))
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(dag.text)
        log = terminal.run(test)
        assert "Message sent:" in log
        (line,) = re.findall(r"`(1 WhatsApp message: .+?)`", section(PAGE, "A first DAG"))
        assert line in log
        (unreachable,) = re.findall(r"Write `(\S+)`", section(PAGE, "A first DAG"))
        (tmp_path / name).write_text(dag.text.replace("+447900123456", unreachable))
        assert "DeliveryFailedError" in terminal.run(test)
