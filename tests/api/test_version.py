"""The versions of Intercom's API, as users write them."""

from __future__ import annotations

import itertools

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.version import parse_api_version, version_reaches


@pytest.mark.parametrize(
    ("given", "version"),
    [
        ("2.17", "2.17"), (2.17, "2.17"), (" 2.14 ", "2.14"), ("1.0", "1.0"), ("2.100", "2.100"),
        ("Preview", "Preview"), ("preview", "Preview"), ("PREVIEW ", "Preview"), ("Unstable", "Preview"),
    ],
)  # fmt: skip
def test_a_version_is_read(given: object, version: str) -> None:
    assert parse_api_version(given) == version


@pytest.mark.parametrize(
    "given",
    ["2", 2, "latest", "v2.17", "2.17.1", "2,17", "", "None", None, True, "-2.1", "02.1", "2.1\u0667", "2.17\r\nX: y"],
)
def test_anything_but_a_version_is_refused(given: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_api_version(given)
    assert [problem.field for problem in caught.value.problems] == ["api_version"]


def test_versions_are_compared_by_their_numbers() -> None:
    ordered = ["1.0", "1.4", "2.0", "2.9", "2.13", "2.14", "2.16", "2.17", "2.100", "3.0", "Preview"]
    for lower, higher in itertools.combinations(ordered, 2):
        assert version_reaches(higher, lower)
        assert not version_reaches(lower, higher)
        assert version_reaches(lower, lower)
