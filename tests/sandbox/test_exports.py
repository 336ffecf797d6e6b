from __future__ import annotations

import csv
import gzip
import io
import ssl
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from intercom_provider.sandbox import Sandbox
from tests.support.eventually import eventually
from tests.support.tls import write_certificate

from .wire import email, in_app

if TYPE_CHECKING:
    from pathlib import Path

TODAY = {"created_at_after": int(time.time()) - 3600, "created_at_before": int(time.time()) + 3600}


def start(api: httpx.Client, span: dict[str, int] = TODAY) -> dict[str, Any]:
    job: dict[str, Any] = api.post("/export/content/data", json=span).raise_for_status().json()
    return job


def read_job(api: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/export/content/data/{job['job_identifier']}").json()
    return found


def test_the_file_is_at_the_url_under_which_the_sandbox_is_asked(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path / "https.pem")
    with Sandbox(certificate=str(certificate), speed=1e6) as sandbox:
        headers = {
            "Authorization": f"Bearer {sandbox.token}",
            "Accept": "application/json, application/octet-stream",
            "Intercom-Version": "2.17",
        }
        verify = ssl.create_default_context(cafile=certificate)
        with httpx.Client(base_url=sandbox.url, headers=headers, verify=verify) as api:
            api.post("/messages", json=email()).raise_for_status()
            job = start(api)
            assert eventually(lambda: read_job(api, job)["status"] == "completed")
            url = read_job(api, job)["download_url"]
            assert url.startswith(sandbox.url)
            assert gzip.decompress(api.get(url).content)


def test_a_job_ends_with_a_file_of_the_messages(api: httpx.Client) -> None:
    api.post("/messages", json=email())
    api.post("/messages", json=in_app(created_at=1_590_000_000))
    job = start(api)
    assert (job["status"], job["download_url"]) == ("pending", "")
    assert eventually(lambda: read_job(api, job)["status"] == "completed")
    done = read_job(api, job)
    assert int(done["download_expires_at"]) > time.time()
    response = api.get(done["download_url"], headers={"Accept": "application/octet-stream"})
    [row] = csv.DictReader(io.StringIO(gzip.decompress(response.content).decode()))
    assert (row["user_id"], row["content_type"], row["content_title"]) == ("ada", "email", "News")


def test_the_file_must_be_accepted_as_bytes(api: httpx.Client) -> None:
    api.post("/messages", json=email())
    job = start(api)
    assert eventually(lambda: read_job(api, job)["status"] == "completed")
    assert api.get(read_job(api, job)["download_url"]).status_code == 406


def test_a_job_without_messages_ends_without_data(api: httpx.Client) -> None:
    job = start(api)
    assert eventually(lambda: read_job(api, job)["status"] == "no_data")
    download = f"/download/content/data/{job['job_identifier']}"
    assert api.get(download, headers={"Accept": "application/octet-stream"}).status_code == 404


def test_there_is_one_job_at_a_time(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.speed = 1
    job = start(api)
    second = api.post("/export/content/data", json=TODAY)
    assert (second.status_code, second.json()["errors"][0]["code"]) == (429, "rate_limit_exceeded")
    canceled = api.post(f"/export/cancel/{job['job_identifier']}").json()
    assert canceled["status"] == read_job(api, job)["status"] == "canceled"
    assert start(api)["job_identifier"] != job["job_identifier"]


@pytest.mark.parametrize("span", [{}, {"created_at_after": "today", "created_at_before": 1}])
def test_a_job_needs_a_span_of_time(api: httpx.Client, span: dict[str, object]) -> None:
    assert api.post("/export/content/data", json=span).status_code == 400


def test_an_unknown_job_is_not_found(api: httpx.Client) -> None:
    assert api.get("/export/content/data/nothing").status_code == 404
    assert api.post("/export/cancel/nothing").status_code == 404
