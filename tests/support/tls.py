"""https for tests: a certificate, and a TLS proxy in front of a server that speaks http."""

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
"""A host that is not this machine, for which the certificate is valid, too."""

_MOST: Final = 16
# A whole record is read at once, because select does not see data that the TLS layer holds.
_RECORD: Final = 1 << 16
_RESET: Final = struct.pack("ii", 1, 0)


def write_certificate(path: Path) -> Path:
    """
    Write a private key and a self-signed certificate of this machine, valid for a day.

    :param path: The file to write; a client that trusts this file trusts the certificate.
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
def over_tls(url: str, certificate: Path, *, record: bytes | None = None) -> Iterator[str]:
    """
    Speak TLS in front of a server, as a load balancer does. A connection that breaks behind it breaks in front, too.

    :param url: The URL of the server.
    :param certificate: The file of :func:`write_certificate`.
    :param record: Bytes before which another TLS record begins, in the same packet; None (default) for no such bytes.
    :return: The https URL.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    behind = _HERE, int(url.rpartition(":")[2])
    with socket.create_server((_HERE, 0)) as listener, ThreadPoolExecutor(_MOST) as pool:
        accepting = pool.submit(_accept, listener, lambda wire: pool.submit(_forward, wire, context, behind, record))
        try:
            yield f"https://{_HERE}:{listener.getsockname()[1]}"
        finally:
            # Closing alone does not wake a thread that waits on the socket.
            listener.shutdown(socket.SHUT_RDWR)
            accepting.result()


def _accept(listener: socket.socket, forward: Callable[[socket.socket], object]) -> None:
    with suppress(OSError):
        while True:
            forward(listener.accept()[0])


def _forward(wire: socket.socket, context: ssl.SSLContext, address: tuple[str, int], record: bytes | None) -> None:
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
                    # Without a TLS shutdown: the connection breaks, as it did behind.
                    return
                before.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                for each in [data] if record is None else _split(data, record):
                    to.sendall(each)
                before.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        except ConnectionResetError:
            before.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _split(data: bytes, at: bytes) -> list[bytes]:
    first, *others = data.split(at)
    return [each for each in (first, *(at + other for other in others)) if each]
