"""Check that the documentation's code runs, its JSON parses, its connections are valid and its links exist."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Connection
from airflow.sdk.definitions._internal.contextmanager import DagContext
from airflow.serialization.serialized_objects import LazyDeserializedDAG

from intercom_provider.hooks.intercom import IntercomHook

from .pages import PAGES, ROOT, anchors, blocks, find_links, links, section, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow.sdk import DAG

    from intercom_provider.api.settings import Settings
    from intercom_provider.sandbox import Sandbox

# Pages whose imports not every Airflow has.
NEEDS = {"docs/alerts.md": "deadline_imports", "docs/hook.md": "async_tasks", "docs/reliability.md": "retry_policy"}

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[tuple[DAG, Any]]]:
    """Collect DAGs as Airflow does when it loads a file."""
    monkeypatch.setattr(DagContext, "current_autoregister_module_name", __name__)
    monkeypatch.setattr(DagContext, "autoregistered_dags", set())
    yield DagContext.autoregistered_dags
    DagContext.autoregistered_dags.clear()


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.needs(NEEDS[name])] if name in NEEDS else [], id=name)
        for page in PAGES
        for name in [str(page.relative_to(ROOT))]
    ],
)
def test_every_block_of_python_runs(
    page: Path,
    run_dag: Any,
    sandbox: Sandbox,
    registered: set[tuple[DAG, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    # A page's blocks are one program: what is imported in one is there in the next.
    program: dict[str, Any] = {"__name__": __name__}
    for block in blocks(page, "python"):
        if block.file:
            # In test_testing.py.
            continue
        known, requests = set(registered), len(sandbox.requests)
        # With its lines where they stand on the page, an error says where it is.
        code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
        exec(code, program)  # noqa: S102 - our own pages
        if not block.runs:
            assert len(sandbox.requests) == requests, f"{page.name}:{block.line} asks Intercom as it is loaded"
        for dag, _ in registered - known:
            LazyDeserializedDAG.from_dag(dag)
            if block.runs:
                assert set(run_dag(dag).states.values()) == {"success"}, f"{page.name}:{block.line} {dag.dag_id}"


def test_a_customers_text_arrives_as_it_was_written(
    run_dag: Any, sandbox: Sandbox, registered: set[tuple[DAG, Any]]
) -> None:
    program: dict[str, Any] = {"__name__": __name__}
    page = ROOT / "docs" / "sending.md"
    for block in blocks(page, "python"):
        exec(compile(block.text, str(page), "exec"), program)  # noqa: S102 - our own page
    (dag,) = (dag for dag, _ in registered if dag.dag_id == "mapped")
    run_dag(dag)
    assert {message.wire["body"] for message in sandbox.messages} == {
        "Hello Ada, your trial ends tomorrow.",
        "Hello {{ 1 + 1 }}, your trial ends tomorrow.",
    }


def test_params_arrive_as_the_page_says(run_dag: Any, sandbox: Sandbox, registered: set[tuple[DAG, Any]]) -> None:
    program: dict[str, Any] = {"__name__": __name__}
    page = ROOT / "docs" / "batches.md"
    for block in blocks(page, "python"):
        exec(compile(block.text, str(page), "exec"), program)  # noqa: S102 - our own page
    (dag,) = (dag for dag, _ in registered if dag.dag_id == "params")
    run_dag(dag)
    texts = {
        message.wire["to"]["phone"]: [each["text"] for each in message.wire["components"][0]["parameters"]]
        for message in sandbox.messages
    }
    assert texts == {"+447900123456": ["Ada", "$5"], "+447900654321": ["there", "$7"]}


@pytest.mark.needs("deadline_imports")
def test_the_alerts_that_are_shown_are_what_is_sent(
    run_dag: Any, sandbox: Sandbox, registered: set[tuple[DAG, Any]]
) -> None:
    page = ROOT / "docs" / "alerts.md"
    program: dict[str, Any] = {"__name__": __name__}
    for block in blocks(page, "python"):
        exec(compile(block.text, str(page), "exec"), program)  # noqa: S102 - our own page
    (dag,) = (dag for dag, _ in registered if dag.dag_id == "nightly")
    run = run_dag(dag)
    sent = [html.unescape(message.wire["body"]).replace("<br>", "") for message in sandbox.messages]
    shown = [
        block.text.rstrip().replace("scheduled__2026-05-01T00:00:00+00:00", run.run_id)
        for block in blocks(page, "text")
    ]
    addresses = re.compile(r"http\S+(?=/dags/nightly/runs/)|(?<=/runs/)[^/]+(?=/tasks/load)")
    assert [addresses.sub("", text) for text in sent] == [addresses.sub("", text) for text in shown]


@by_page
def test_every_block_of_json_parses(page: Path) -> None:
    for block in blocks(page, "json"):
        json.loads(block.text)


def connections(text: str) -> list[str]:
    uris: list[str] = re.findall(r"intercom://[^\s'\"`]+", text)
    quoted: list[str] = re.findall(r"'(\{\"conn_type\": \"intercom\".*?\})'", text)
    whole: list[str] = [
        block for block in re.findall(r"^```json\n(.*?)^```$", text, re.DOTALL | re.MULTILINE) if "conn_type" in block
    ]
    return [*uris, *quoted, *whole]


def settings_of(text: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("AIRFLOW_CONN_SHOWN", text)
    assert Connection.get("shown").conn_type == "intercom"
    return IntercomHook("shown").settings


@by_page
def test_every_connection_shown_is_one(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in connections(page.read_text(encoding="utf-8")):
        assert settings_of(text, monkeypatch).token


@pytest.mark.parametrize(
    ("page", "heading"), [("README.md", "The connection"), ("docs/connection.md", "As JSON and as a URI")]
)
def test_json_and_uri_are_the_same_connection(page: str, heading: str, monkeypatch: pytest.MonkeyPatch) -> None:
    as_uri, as_json = connections(section(ROOT / page, heading))
    # Airflow 3.1 takes the digits in a URI for a number.
    read, other = (
        replace(settings, admin_id=str(settings.admin_id))
        for settings in (settings_of(as_uri, monkeypatch), settings_of(as_json, monkeypatch))
    )
    assert read == other
    assert (read.token, read.url, read.admin_id) == ("dG9rOmV4YW1wbGU=", "https://api.eu.intercom.io", "814860")


@pytest.mark.parametrize(
    "page",
    [*PAGES, *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_stands_in_the_index_once() -> None:
    index = ROOT / "docs" / "README.md"
    entries = re.findall(r"^- \[.+?\]\(([^)]+)\)", index.read_text(encoding="utf-8"), re.MULTILINE)
    pages = {path.name for path in index.parent.iterdir() if path.suffix in (".md", ".rst")}
    assert sorted(entries) == sorted(pages - {index.name, "index.rst"})


def test_every_dag_to_copy_is_listed() -> None:
    rows = table((ROOT / "docs" / "README.md").read_text(encoding="utf-8"), "DAG")
    listed = {find_links(cell)[0].removeprefix("../example_dags/") for cell, _ in rows}
    assert listed == {path.name for path in (ROOT / "example_dags").glob("*.py")}
