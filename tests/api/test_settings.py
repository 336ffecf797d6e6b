from __future__ import annotations

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.settings import (
    REGIONS,
    Settings,
    is_loopback,
    parse_base_url,
    parse_region,
)


def field_of(error: InvalidInputError) -> str:
    [problem] = error.problems
    return problem.field


@pytest.mark.parametrize("given", ["us", "EU", " Au ", "\ufeffeu\u200b", "us\u00a0\n"])
def test_a_region_is_read_in_any_case(given: str) -> None:
    assert parse_region(given) in REGIONS


@pytest.mark.parametrize("given", ["uk", "", "Europe", "us ,eu", None, 5])
def test_a_region_that_does_not_exist_is_refused(given: object) -> None:
    with pytest.raises(InvalidInputError, match="us, eu, au") as caught:
        parse_region(given)
    assert field_of(caught.value) == "region"


@pytest.mark.parametrize(
    ("region", "url"),
    [("us", "https://api.intercom.io"), ("eu", "https://api.eu.intercom.io"), ("au", "https://api.au.intercom.io")],
)
def test_each_region_has_its_host(region: str, url: str) -> None:
    assert Settings(token="t", region=region).url == url
    assert Settings(token="t", region=region, base_url="https://proxy").url == "https://proxy"


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("proxy.example.com", None, "https://proxy.example.com"),
        ("proxy.example.com", 8443, "https://proxy.example.com:8443"),
        ("proxy.example.com:8443", None, "https://proxy.example.com:8443"),
        ("proxy.example.com:8443", 8443, "https://proxy.example.com:8443"),
        ("https://proxy.example.com:443", 443, "https://proxy.example.com"),
        ("proxy.example.com", 443, "https://proxy.example.com"),
        ("https://proxy.example.com/", None, "https://proxy.example.com"),
        ("https://proxy.example.com/intercom/", None, "https://proxy.example.com/intercom"),
        ("HTTPS://Proxy.Example.com", None, "https://proxy.example.com"),
        (" https://proxy.example.com ", None, "https://proxy.example.com"),
        ("\ufeffhttps://proxy.example.com\u200b\n", None, "https://proxy.example.com"),
        ("http://localhost:8765", None, "http://localhost:8765"),
        ("http://127.0.0.1", 8765, "http://127.0.0.1:8765"),
        ("http://127.1.2.3:1", None, "http://127.1.2.3:1"),
        ("http://[::1]:8765", None, "http://[::1]:8765"),
        ("::1", None, "https://[::1]"),
        ("::1", 8765, "https://[::1]:8765"),
        ("[::1]:8765", None, "https://[::1]:8765"),
        ("2001:db8::7", None, "https://[2001:db8::7]"),
        ("b\u00fccher.example", None, "https://xn--bcher-kva.example"),
    ],
)
def test_a_base_url_is_read(host: str, port: int | None, url: str) -> None:
    assert parse_base_url(host, port=port) == url


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("ftp://proxy", None, "http"),
        ("https://", None, "host"),
        ("https:///path", None, "host"),
        ("https://user:hunter2@proxy", None, "no user"),
        ("https://hunter2@proxy", None, "no user"),
        ("https://user:hunter2@pro xy", None, "URL"),
        ("https://user:hunter2@[::1", None, "URL"),
        ("https://user:hunter2@proxy:port", None, "URL"),
        ("https://proxy?token=hunter2", None, "query"),
        ("https://proxy#hunter2", None, "fragment"),
        ("https://proxy\r\nX-Evil: 1", None, "URL"),
        ("proxy", 0, "port"),
        ("proxy", 70_000, "port"),
        ("proxy", -1, "port"),
        ("https://proxy:70000", None, "port|URL"),
        ("proxy.example.com:8443", 9443, "port 8443"),
        ("http://127.0.0.1:8765", 443, "port 8765"),
        ("https://proxy.example.com:443", 8443, "port 443"),
        ("http://127.0.0.1:80", 443, "port 80"),
        ("http://localhost/", 443, "https"),
        ("[::1]:8765", 443, "port 8765"),
        ("http://proxy.example.com", None, "allow_http"),
        ("http://10.0.0.1", None, "allow_http"),
        ("http://0.0.0.0", None, "allow_http"),
        ("http://localhost.example.com", None, "allow_http"),
        ("http://127.0.0.1.example.com", None, "allow_http"),
        ("http://[2001:db8::1]", None, "allow_http"),
        ("HTTP://proxy.example.com", None, "allow_http"),
        ("http://127.0.0.1@proxy.example.com", None, "no user"),
    ],
)
def test_a_base_url_that_is_wrong_or_unsafe_is_refused(host: str, port: int | None, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        parse_base_url(host, port=port)
    assert field_of(caught.value) in {"host", "port"}
    assert "hunter2" not in str(caught.value)


def test_plain_http_may_be_allowed() -> None:
    assert parse_base_url("http://proxy", allow_http=True) == "http://proxy"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.255.0.1", "::1", "[::1]"])
def test_this_machine_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "10.0.0.1", "localhost.evil.com", "127.0.0.1.evil.com", "::", "evil"])
def test_other_machines_are_known(host: str) -> None:
    assert not is_loopback(host)


def test_the_token_is_in_no_repr() -> None:
    assert "secret" not in repr(Settings(token="secret"))
