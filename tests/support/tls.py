"""What it takes to be asked over https: a certificate, and an end of TLS in front of a server that speaks http."""

from __future__ import annotations

import socket
import ssl
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from select import select
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_HERE: Final = "127.0.0.1"
ELSEWHERE: Final = "intercom.test"
"""A host that is not this machine's, for which the certificate is good as well."""

_MOST: Final = 16
# All of a record is read at once, so that nothing is left inside where no select sees it.
_RECORD: Final = 1 << 16
_RESET: Final = struct.pack("ii", 1, 0)


def write_certificate(path: Path) -> Path:
    """
    Write a private key and a certificate of this machine for a day, which nobody signed.

    :param path: Where; whoever trusts this file trusts the certificate.
    :return: The same path.
    """
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _HERE)])
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(_HERE)), x509.DNSName(ELSEWHERE)]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + certificate.public_bytes(pem))
    return path


@contextmanager
def over_tls(url: str, certificate: Path) -> Iterator[str]:
    """
    Speak TLS in front of a server, as a load balancer does: what breaks behind it breaks before it.

    :param url: Where the server is.
    :param certificate: What :func:`write_certificate` wrote.
    :return: Where to ask.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    behind = _HERE, int(url.rpartition(":")[2])
    with socket.create_server((_HERE, 0)) as listener, ThreadPoolExecutor(_MOST) as pool:
        accepting = pool.submit(_accept, listener, lambda wire: pool.submit(_forward, wire, context, behind))
        try:
            yield f"https://{_HERE}:{listener.getsockname()[1]}"
        finally:
            # Closing alone does not wake whoever waits on a socket.
            listener.shutdown(socket.SHUT_RDWR)
            accepting.result()


def _accept(listener: socket.socket, forward: Callable[[socket.socket], object]) -> None:
    with suppress(OSError):
        while True:
            forward(listener.accept()[0])


def _forward(wire: socket.socket, context: ssl.SSLContext, address: tuple[str, int]) -> None:
    with (
        suppress(OSError),
        wire,
        context.wrap_socket(wire, server_side=True) as before,
        socket.create_connection(address) as behind,
    ):
        try:
            while True:
                ready, _, _ = select([before, behind], [], [])
                source, to = (behind, before) if behind in ready else (before, behind)
                data = source.recv(_RECORD)
                if not data:
                    # No farewell in TLS: the connection breaks off, as it did behind.
                    return
                to.sendall(data)
        except ConnectionResetError:
            before.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
