"""`python -m intercom_provider.sandbox`: a local Intercom on the command line."""

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

from intercom_provider.sandbox.contacts import MAGIC_NAMES
from intercom_provider.sandbox.delivery import MAGIC_ENDINGS
from intercom_provider.sandbox.server import Sandbox
from intercom_provider.sandbox.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

_FOREVER = 1e9


class _Ruleset(NamedTuple):
    id: str
    size: int
    over: float


def _ruleset(text: str) -> _Ruleset:
    ruleset_id, size, *over = text.split(":")
    if not ruleset_id or len(over) > 1:
        raise ValueError(text)
    return _Ruleset(ruleset_id, _whole(size), _number(over[0]) if over else 0)


def _number(text: str) -> float:
    if not 0 <= (number := float(text)) < _FOREVER:
        raise ValueError(text)
    return number


def _whole(text: str) -> int:
    return int(_number(str(int(text))))


def _factor(text: str) -> float:
    if (number := _number(text)) == 0:
        raise ValueError(text)
    return number


def _share(text: str) -> float:
    if (number := _number(text)) > 1:
        raise ValueError(text)
    return number


def _certificate(text: str) -> str:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(text)
    except OSError as error:
        raise ValueError(text) from error
    return text


# argparse shows these in its errors: "invalid share (0 to 1) value: '7'".
_ruleset.__name__ = "ID:SIZE[:SECONDS]"
_number.__name__ = "number of seconds"
_whole.__name__ = "whole number"
_factor.__name__ = "factor"
_certificate.__name__ = "PEM file with a private key and its certificate"
_share.__name__ = "share (0 to 1)"


def add_options(add: Callable[..., object]) -> None:
    """Name the options.

    :param add: takes what `ArgumentParser.add_argument` takes.
    """
    usual = Settings()
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=int, default=8765, help="port; 0 for a free one (%(default)s)")
    add(
        "--certificate",
        type=_certificate,
        metavar="FILE",
        help="PEM file with a private key and its certificate: https, as the real Intercom (http)",
    )
    add("--token", default=usual.token, help="access token to accept (%(default)s)")
    add(
        "--region",
        choices=("us", "eu", "au"),
        default=usual.region,
        help="region of the workspace (%(default)s)",
    )
    add(
        "--speed",
        type=_factor,
        default=usual.speed,
        metavar="FACTOR",
        help="sandbox seconds in a second: 60 makes WhatsApp's minutes seconds (%(default)s)",
    )
    add(
        "--failures",
        type=_share,
        default=usual.failures,
        metavar="SHARE",
        help="share of WhatsApp messages that fail, 0 to 1 (%(default)s)",
    )
    add(
        "--read-share",
        type=_share,
        default=usual.read_share,
        metavar="SHARE",
        help="share of the delivered ones that are read, 0 to 1 (%(default)s)",
    )
    add(
        "--ruleset",
        type=_ruleset,
        action="append",
        default=[],
        metavar="ID:SIZE[:SECONDS]",
        dest="rulesets",
        help="a WhatsApp Outbound message to SIZE recipients, who join over so many sandbox seconds "
        "(at once); may be repeated",
    )
    add(
        "--rate-limit",
        type=_whole,
        default=usual.rate_limit,
        metavar="REQUESTS",
        help="requests in each 10 seconds; 0 for no limit (%(default)s)",
    )
    add(
        "--latency",
        type=_number,
        default=usual.latency,
        metavar="SECONDS",
        help="seconds by which every reply is held back (%(default)s)",
    )
    add("--seed", type=int, default=usual.seed, help="the same seed tells the same story (%(default)s)")
    add("--print-json", action="store_true", help="say where it listens in one line of JSON, for scripts")


def magic_table() -> str:
    """Tell what magic recipients there are."""
    phones = [f"  a phone ending in {ending}: {does}" for ending, (_, does) in MAGIC_ENDINGS.items()]
    names = [f"  an id, user_id or email {name}: {does}" for name, does in MAGIC_NAMES.items()]
    return "\n".join(["magic recipients (everybody else is there, and is messaged):", *phones, *names])


def _greeting(sandbox: Sandbox, rulesets: Sequence[_Ruleset]) -> str:
    connection = shlex.quote(json.dumps(sandbox.connection))
    lines = [
        f"Intercom sandbox at {sandbox.url} (Ctrl+C stops it)",
        "",
        "  Airflow connection:",
        f"    export AIRFLOW_CONN_INTERCOM_DEFAULT={connection}",
        "  What happened:",
        f"    curl {sandbox.url}/_sandbox/report",
    ]
    lines += [f"  Ruleset {each.id}: {each.size} recipients" for each in rulesets]
    return "\n".join(lines)


def run(options: argparse.Namespace, out: TextIO) -> int:
    """Run a sandbox until SIGINT or SIGTERM.

    :param options: what `add_options` names.
    :param out: where it says where it listens.
    :return: the exit status.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    chosen = {each.name: getattr(options, each.name) for each in fields(Settings)}
    sandbox = Sandbox(options.host, options.port, certificate=options.certificate, **chosen)
    try:
        sandbox.start()
    except OSError as error:
        sys.stderr.write(f"Cannot listen on {options.host}:{options.port}: {error.strerror}\n")
        return 1
    for ruleset in options.rulesets:
        sandbox.add_ruleset(ruleset.id, ruleset.size, over=ruleset.over)
    if options.print_json:
        where = {"url": sandbox.url, "token": sandbox.token, "connection": sandbox.connection}
        out.write(json.dumps(where) + "\n")
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
        description="A local Intercom: answers like the real one, sends nothing to anybody.",
        epilog=magic_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser.add_argument)
    return run(parser.parse_args(arguments), sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
