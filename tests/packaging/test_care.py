"""Workflows, hooks, Makefile, changelog and pages agree with each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import intercom_provider
from tests.support.project import PROJECT, declared_pythons, metadata
from tools.release import mistakes

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

by_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = read(path)["jobs"]
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path).values() for step in job.get("steps", ())]


def made(path: Path) -> set[str]:
    """Return the targets that a workflow makes, including those of a matrix."""
    called = {word for step in steps(path) for word in re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))}
    listed = (job.get("strategy", {}).get("matrix", {}).get("target", ()) for job in jobs(path).values())
    return called.union(*listed)


def test_the_ci_workflow_makes_the_same_targets_as_the_ci_script() -> None:
    script = (PROJECT / ".ci" / "run").read_text(encoding="utf-8")
    assert made(PROJECT / ".github" / "workflows" / "ci.yml") == set(
        re.findall(r"^make ([a-z-]+)", script, re.MULTILINE)
    )


@by_workflow
def test_every_target_that_a_workflow_makes_exists(path: Path) -> None:
    assert made(path)
    assert made(path) <= TARGETS


def test_the_tests_run_on_the_lowest_and_the_highest_python() -> None:
    lowest, *_, highest = declared_pythons()
    assert metadata()["requires-python"] == f">={lowest}"
    ci, docs, release = (jobs(path) for path in WORKFLOWS)
    assert ci["test"]["strategy"]["matrix"]["python"] == [lowest, highest]
    fixed = {
        step["with"]["python-version"].split()[-1]
        for job in (ci["airflow"], docs["build"], release["build"])
        for step in job["steps"]
        if "setup-python" in step.get("uses", "")
    }
    assert fixed == {lowest}


@by_workflow
def test_a_workflow_has_only_the_permissions_it_needs(path: Path) -> None:
    assert read(path)["permissions"] == {"contents": "read"}
    asked = {name: job["permissions"] for name, job in jobs(path).items() if "permissions" in job}
    needed = {"docs": {"id-token": "write", "pages": "write"}, "release": {"id-token": "write"}}
    # The publishing job proves its identity with a token, so it must not run code of ours.
    assert asked == ({"publish": needed[path.stem]} if path.stem in needed else {})
    assert all("run" not in step for step in jobs(path).get("publish", {}).get("steps", ()))


def actions(text: str) -> list[tuple[str, str]]:
    """Return the actions of a workflow's text, each with the comment behind it. Workflows of our own are left out."""
    named = re.findall(r"^\s*(?:- )?[\"']?uses[\"']?:[ \t]*(\S+)[ \t]*(.*)$", text, re.MULTILINE)
    return [(action, comment) for action, comment in named if not action.startswith("./")]


def is_pinned(action: str, comment: str) -> bool:
    return bool(re.fullmatch(r"[\w.-]+(/[\w.-]+)+@[0-9a-f]{40}", action) and re.fullmatch(r"# v\d+\.\d+\.\d+", comment))


@by_workflow
def test_every_action_is_pinned_by_hash_with_its_version(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = actions(text)
    # A tag can be moved to other code, a hash cannot. The updater reads and renews the comment.
    assert [action for action, comment in found if not is_pinned(action, comment)] == []
    # Steps that the pattern above does not see would be left out of the test.
    assert [action for action, _ in found] == [step["uses"] for step in steps(path) if "uses" in step]
    assert found


@pytest.mark.parametrize(
    "line",
    [
        "- uses: actions/checkout@v5",
        "- uses: actions/checkout@v5.0.1 # v5.0.1",
        "- uses: actions/checkout@93cb6efe18208431cddfb8368fd83d5badbf9bfd",
        "- uses: actions/checkout@93cb6efe18208431cddfb8368fd83d5badbf9bfd # v5",
        "- uses: actions/checkout@93cb6ef # v5.0.1",
        "  uses: pypa/gh-action-pypi-publish@release/v1",
        "- uses: docker://alpine:3 # v3.0.0",
    ],
)
def test_an_action_without_hash_or_version_is_found(line: str) -> None:
    [(action, comment)] = actions(f"steps:\n    {line}\n")
    assert not is_pinned(action, comment)


@by_workflow
def test_one_hash_stands_for_one_version(path: Path) -> None:
    everywhere = {found for each in WORKFLOWS for found in actions(each.read_text(encoding="utf-8"))}
    names = [action.partition("@")[0] for action, _ in everywhere]
    for action, _ in actions(path.read_text(encoding="utf-8")):
        assert names.count(action.partition("@")[0]) == 1, action


@by_workflow
def test_a_checkout_keeps_no_credentials(path: Path) -> None:
    for step in steps(path):
        if "actions/checkout" in step.get("uses", ""):
            assert step["with"] == {"persist-credentials": False}


def test_a_release_is_published_only_after_all_other_jobs() -> None:
    release = jobs(PROJECT / ".github" / "workflows" / "release.yml")
    assert release["ci"] == {"uses": "./.github/workflows/ci.yml"}
    assert set(release["publish"]["needs"]) == release.keys() - {"publish"}
    assert made(PROJECT / ".github" / "workflows" / "release.yml") == {"check-release", "test-wheel"}
    # In YAML 1.1 the key "on" is read as true.
    assert "workflow_call" in read(PROJECT / ".github" / "workflows" / "ci.yml")[True]


def test_the_hooks_before_a_commit_are_targets_and_need_no_network() -> None:
    hooks = [
        hook
        for repo in read(PROJECT / ".pre-commit-config.yaml")["repos"]
        for hook in repo["hooks"]
        if repo["repo"] == "local"
    ]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert {hook["entry"].removeprefix("make ") for hook in hooks} <= TARGETS
    assert {repo["repo"] for repo in read(PROJECT / ".pre-commit-config.yaml")["repos"]} == {"local"}


def test_dependabot_updates_python_packages_and_actions() -> None:
    updates = read(PROJECT / ".github" / "dependabot.yml")["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"pip", "github-actions"}


def test_every_target_that_a_page_names_exists() -> None:
    pages = [*PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"[`$] ?make ([a-z-]+)", page.read_text(encoding="utf-8"))}
    assert {"test", "demo", "docs"} <= named
    assert named <= TARGETS


def test_contributing_names_files_and_folders_that_exist() -> None:
    page = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:\w+/)+(?:\w+\.\w+)?)`", page)
    assert named
    for name in named:
        assert (PROJECT / name).exists() or (PROJECT / "intercom_provider" / name).exists(), name


CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-12-01\n\n- All.\n\n## [1.2.2] - 2026-11-01\n"


@pytest.mark.parametrize(
    ("tag", "version", "changelog", "expected"),
    [
        ("v1.2.3", "1.2.3", CHANGELOG, []),
        ("v1.2.3", "1.2.3", CHANGELOG.replace("## [Unreleased]\n\n", ""), []),
        ("1.2.3", "1.2.3", CHANGELOG, ["The tag is '1.2.3'"]),
        ("", "1.2.3", CHANGELOG, ["The tag is ''"]),
        ("v1.2.4", "1.2.3", CHANGELOG, ["The tag is 'v1.2.4'"]),
        ("v1.2.2", "1.2.2", CHANGELOG, ["no heading '## [1.2.2]"]),
        ("v1.2.3", "1.2.3", CHANGELOG.replace(" - 2026-12-01", ""), ["no heading '## [1.2.3]"]),
        ("v1.2.3", "1.2.3", CHANGELOG.replace("[Unreleased]\n", "[Unreleased]\n\n- More.\n"), ["still has something"]),
        ("v1.2.3", "1.2.3", "# Changelog\n", ["no heading '## [1.2.3]"]),
    ],
)
def test_a_tag_may_be_released_only_if_version_and_changelog_match(
    tag: str, version: str, changelog: str, expected: list[str]
) -> None:
    found = mistakes(tag, version, changelog)
    assert len(found) == len(expected)
    for mistake, part in zip(found, expected, strict=True):
        assert part in mistake


def test_the_changelog_of_this_project_can_be_released() -> None:
    changelog = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = changelog.replace("## [Unreleased]", f"## [{intercom_provider.__version__}] - 2026-12-01")
    assert not mistakes(f"v{intercom_provider.__version__}", intercom_provider.__version__, released)
