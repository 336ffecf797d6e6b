from __future__ import annotations

import json
import re
import shlex
import signal
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from intercom_provider.sandbox import Sandbox
from tests.support.eventually import eventually
from tests.support.project import PROJECT
from tests.support.tls import write_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = [sys.executable, "-W", "error", "-m", "intercom_provider.sandbox"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own command
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=20, check=False
    )


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(  # noqa: S603 - our own command
        [*COMMAND, "--port", "0", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_its_address_and_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    with started("--print-json", "--region", "au", "--ruleset", "77:5", "--ruleset", "78:9:60") as process:
        address = json.loads(line(process))
        headers = {
            "Authorization": f"Bearer {address['token']}",
            "Accept": "application/json",
            "Intercom-Version": "2.17",
        }
        with httpx.Client(base_url=address["url"], headers=headers) as client:
            assert client.get("/me").json()["app"]["region"] == "AU"
            assert client.get("/messages/status?ruleset_id=77").json()["total_count"] == 5
            assert client.get("/messages/status?ruleset_id=78").json()["total_count"] < 9
            process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")


def test_it_prints_an_export_of_its_connection_for_the_shell() -> None:
    with started("--token", "it's mine") as process:
        greeting = [line(process) for _ in range(4)]
    exported = shlex.split(greeting[3])
    assert exported[0] == "export"
    name, _, value = exported[1].partition("=")
    connection = json.loads(value)
    assert name == "AIRFLOW_CONN_INTERCOM_DEFAULT"
    assert (connection["conn_type"], connection["password"]) == ("intercom", "it's mine")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", connection["host"])
    assert connection["host"] in greeting[0]


def test_with_a_certificate_it_serves_https(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path / "https.pem")
    with started("--certificate", str(certificate), "--print-json") as process:
        url = json.loads(line(process))["connection"]["host"]
        assert url.startswith("https://127.0.0.1:")
        with httpx.Client(verify=ssl.create_default_context(cafile=certificate)) as client:
            assert client.get(f"{url}/_sandbox/report").status_code == 200


def test_allowed_hosts_are_answered() -> None:
    with started("--print-json", "--allow-host", "sandbox", "--allow-host", "10.0.0.7") as process:
        url = json.loads(line(process))["url"]
        for host, status in (("sandbox", 200), ("10.0.0.7:1", 200), ("evil.example", 403)):
            assert httpx.get(f"{url}/_sandbox/report", headers={"Host": host}).status_code == status


def test_help_lists_the_options_and_the_magic_recipients() -> None:
    text = run("--help").stdout
    for word in ("--speed", "--failures", "--seed", "99901", "99905", "unknown", "soon-SECONDS", "lead"):
        assert word in text


def test_the_documentation_names_every_option_and_magic_phone() -> None:
    documented = (PROJECT / "docs" / "sandbox.md").read_text()
    for word in re.findall(r"--[a-z-]+|999\d\d", run("--help").stdout):
        assert word in documented or word == "--help"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--failures", "7"),
        ("--speed", "0"),
        ("--speed", "nan"),
        ("--ruleset", "77"),
        ("--latency", "-1"),
        ("--certificate", __file__),
        ("--allow-host", "http://sandbox"),
    ],
)
def test_an_invalid_value_is_refused(arguments: tuple[str, str]) -> None:
    ended = run(*arguments)
    assert ended.returncode == 2
    assert arguments[0] in ended.stderr


@pytest.mark.parametrize("host", ["http://localhost", "no such host"])
def test_an_address_that_does_not_exist_is_reported_in_one_line(host: str) -> None:
    ended = run("--port", "0", "--host", host)
    assert ended.returncode == 1
    assert re.fullmatch(r"Cannot listen on .+\n", ended.stderr)


def test_a_port_in_use_is_reported_in_one_line(sandbox: Sandbox) -> None:
    ended = run("--port", sandbox.url.rpartition(":")[2])
    assert ended.returncode == 1
    assert re.fullmatch(r"Cannot listen on 127\.0\.0\.1:\d+: .+\n", ended.stderr)


def test_importing_it_imports_no_server_and_no_airflow() -> None:
    code = """
import sys
import intercom_provider.sandbox
print([name for name in ("starlette", "uvicorn", "airflow", "httpx", "asyncio") if name in sys.modules])
"""
    ended = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "[]"


def test_a_sandbox_that_stops_sends_its_delayed_replies() -> None:
    with Sandbox(latency=60) as sandbox, ThreadPoolExecutor(1) as pool:
        reply = pool.submit(httpx.get, f"{sandbox.url}/me", timeout=5)
        assert eventually(lambda: bool(sandbox.requests))
        sandbox.stop()
        assert reply.result().status_code == 401


def test_a_sandbox_stops_listening_after_its_block() -> None:
    with Sandbox() as sandbox:
        assert httpx.get(f"{sandbox.url}/_sandbox/report").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{sandbox.url}/_sandbox/report")
