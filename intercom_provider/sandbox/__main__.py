"""The command line of the sandbox: `python -m intercom_provider.sandbox`."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import ssl
import sys
import threading
from dataclasses import fields
from typing import TYPE_CHECKING, NamedTuple

from intercom_provider.sandbox.allowed_hosts import parse_host
from intercom_provider.sandbox.contacts import MAGIC_NAMES
from intercom_provider.sandbox.delivery import MAGIC_ENDINGS
from intercom_provider.sandbox.faults import FAULTS
from intercom_provider.sandbox.faults import MAGIC_ENDINGS as FAULT_ENDINGS
from intercom_provider.sandbox.server import Sandbox
from intercom_provider.sandbox.settings import SandboxSettings
from intercom_provider.sandbox.templates import Templates, read_templates
from intercom_provider.sandbox.versions import check_version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

_MAX_NUMBER = 1e9


class _Ruleset(NamedTuple):
    id: str
    size: int
    over: float


def _parse_ruleset(text: str) -> _Ruleset:
    ruleset_id, size, *over = text.split(":")
    if not ruleset_id or len(over) > 1:
        raise ValueError(text)
    return _Ruleset(ruleset_id, _parse_count(size), _parse_seconds(over[0]) if over else 0)


def _parse_seconds(text: str) -> float:
    if not 0 <= (number := float(text)) < _MAX_NUMBER:
        raise ValueError(text)
    return number


def _parse_count(text: str) -> int:
    return int(_parse_seconds(str(int(text))))


def _parse_factor(text: str) -> float:
    if (number := _parse_seconds(text)) == 0:
        raise ValueError(text)
    return number


def _parse_share(text: str) -> float:
    if (number := _parse_seconds(text)) > 1:
        raise ValueError(text)
    return number


def _parse_allowed_host(text: str) -> str:
    return parse_host(text)


def _check_certificate(text: str) -> str:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(text)
    except OSError as error:
        raise ValueError(text) from error
    return text


def _read_templates(text: str) -> Templates:
    try:
        return read_templates(text)
    except OSError as error:
        raise ValueError(text) from error


def _parse_version(text: str) -> str:
    return check_version(text)


# argparse names these in its errors: "invalid share (0 to 1) value: '7'".
_parse_ruleset.__name__ = "ID:SIZE[:SECONDS]"
_parse_seconds.__name__ = "number of seconds"
_parse_count.__name__ = "whole number"
_parse_factor.__name__ = "factor"
_parse_allowed_host.__name__ = "name or IP address without scheme and port"
_check_certificate.__name__ = "PEM file with a private key and its certificate"
_read_templates.__name__ = "JSON file of WhatsApp templates"
_parse_version.__name__ = "API version"
_parse_share.__name__ = "share (0 to 1)"


def add_options(add: Callable[..., object]) -> None:
    """Add the options of the sandbox to a parser.

    :param add: called as `ArgumentParser.add_argument` is.
    """
    defaults = SandboxSettings()
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=int, default=8765, help="port; 0 for a free one (%(default)s)")
    add(
        "--certificate",
        type=_check_certificate,
        metavar="FILE",
        help="PEM file with a private key and its certificate, for https instead of http",
    )
    add(
        "--allow-host",
        type=_parse_allowed_host,
        action="append",
        default=[],
        metavar="HOST",
        dest="allow_hosts",
        help="another name or address under which clients ask for it, such as a container's name; may be repeated "
        "(its own address and this machine's names)",
    )
    add("--token", default=defaults.token, help="access token to accept (%(default)s)")
    add(
        "--region",
        choices=("us", "eu", "au"),
        default=defaults.region,
        help="region of the workspace (%(default)s)",
    )
    add(
        "--speed",
        type=_parse_factor,
        default=defaults.speed,
        metavar="FACTOR",
        help="sandbox seconds per real second: at 60, a delivery of one minute takes one second (%(default)s)",
    )
    add(
        "--failures",
        type=_parse_share,
        default=defaults.failures,
        metavar="SHARE",
        help="share of WhatsApp messages that fail, 0 to 1 (%(default)s)",
    )
    add(
        "--read-share",
        type=_parse_share,
        default=defaults.read_share,
        metavar="SHARE",
        help="share of the delivered ones that are read, 0 to 1 (%(default)s)",
    )
    add(
        "--ruleset",
        type=_parse_ruleset,
        action="append",
        default=[],
        metavar="ID:SIZE[:SECONDS]",
        dest="rulesets",
        help="a WhatsApp Outbound message to SIZE recipients, who join over SECONDS sandbox seconds (at once); "
        "may be repeated",
    )
    add(
        "--rate-limit",
        type=_parse_count,
        default=defaults.rate_limit,
        metavar="REQUESTS",
        help="maximum of requests in each 10 seconds; 0 for no limit (%(default)s)",
    )
    add(
        "--latency",
        type=_parse_seconds,
        default=defaults.latency,
        metavar="SECONDS",
        help="seconds by which every reply is delayed (%(default)s)",
    )
    add(
        "--seed",
        type=int,
        default=defaults.seed,
        help="seed of the random choices: the same seed gives the same deliveries (%(default)s)",
    )
    add(
        "--default-version",
        type=_parse_version,
        default=defaults.default_version,
        metavar="VERSION",
        help="API version of requests without the header Intercom-Version (%(default)s)",
    )
    add(
        "--templates",
        type=_read_templates,
        metavar="FILE",
        help="JSON file of the WhatsApp templates; others, and other numbers of parameters, are not accepted (all are)",
    )
    add("--print-json", action="store_true", help="print url, token and connection as one line of JSON, for scripts")


def magic_table() -> str:
    """Return the table of magic recipients for the help text."""
    phones = [f"  a phone ending in {ending}: {effect}" for ending, (_, effect) in MAGIC_ENDINGS.items()]
    phones += [f"  a phone ending in {ending}: {FAULTS[fault].effect}" for ending, fault in FAULT_ENDINGS.items()]
    names = [f"  an id, user_id or email {name}: {effect}" for name, effect in MAGIC_NAMES.items()]
    return "\n".join(["magic recipients (everybody else exists and can be messaged):", *phones, *names])


def _greeting(sandbox: Sandbox, rulesets: Sequence[_Ruleset]) -> str:
    connection = shlex.quote(json.dumps(sandbox.connection))
    lines = [
        f"Intercom sandbox at {sandbox.url} (Ctrl+C stops it)",
        "",
        "  Airflow connection:",
        f"    export AIRFLOW_CONN_INTERCOM_DEFAULT={connection}",
        f"  The messages, as they would arrive: {sandbox.url}/",
        "  What happened:",
        f"    curl {sandbox.url}/_sandbox/report",
    ]
    lines += [f"  Ruleset {each.id}: {each.size} recipients" for each in rulesets]
    return "\n".join(lines)


def run(options: argparse.Namespace, out: TextIO) -> int:
    """Run a sandbox until SIGINT or SIGTERM.

    :param options: the parsed options of `add_options`.
    :param out: gets the address on which it listens.
    :return: the exit status.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    settings = {each.name: getattr(options, each.name) for each in fields(SandboxSettings)}
    sandbox = Sandbox(
        options.host, options.port, certificate=options.certificate, allow_hosts=options.allow_hosts, **settings
    )
    try:
        sandbox.start()
    except OSError as error:
        sys.stderr.write(f"Cannot listen on {options.host}:{options.port}: {error.strerror}\n")
        return 1
    for ruleset in options.rulesets:
        sandbox.add_ruleset(ruleset.id, ruleset.size, over=ruleset.over)
    if options.print_json:
        address = {"url": sandbox.url, "token": sandbox.token, "connection": sandbox.connection}
        out.write(json.dumps(address) + "\n")
    else:
        out.write(_greeting(sandbox, options.rulesets) + "\n")
    out.flush()
    stop.wait()
    sandbox.stop()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sandbox until SIGINT or SIGTERM.

    :param arguments: the command line; None for the process's own.
    :return: the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m intercom_provider.sandbox",
        description="Runs a local Intercom that answers like the real one and messages nobody.",
        epilog=magic_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser.add_argument)
    return run(parser.parse_args(arguments), sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
