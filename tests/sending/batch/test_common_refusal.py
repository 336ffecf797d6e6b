"""What is common to all messages is recognised as common, and one contact's refusal is that contact's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from intercom_provider.api.errors import ApiError, CommonRefusalError, ForbiddenError, UnauthorizedError
from tests.support.hostile import Act, Exchange, error, healthy
from tests.support.stores import Store

from .test_run import people, run

if TYPE_CHECKING:
    from tests.support.hostile import Hostile

UNSUBSCRIBED = error(403, "forbidden", "This user is unsubscribed from emails")


@pytest.mark.parametrize(
    "refusal",
    [
        UNSUBSCRIBED,
        error(403, "action_forbidden", "This contact is blocked"),
        error(422, "parameter_invalid", "Body is required"),
        error(400, "parameter_invalid", "Multiple existing users match"),
        error(409, "conflict", "resource conflict"),
        error(410, "contact_merged", "merged"),
    ],
)
def test_one_contacts_refusal_is_that_contacts(server: Hostile, refusal: Act) -> None:
    server.script(*[healthy()] * 4, refusal)
    made = run(server, people(60))
    assert made.fatal is None
    assert (made.counts.sent, made.counts.rejected) == (59, 1)
    assert made.counts.transient == 0


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (error(401, "unauthorized", "Access Token Invalid"), UnauthorizedError),
        (error(401, "token_unauthorized", "Not authorized to access resource"), UnauthorizedError),
        (error(401, "token_revoked"), UnauthorizedError),
        (error(403, "api_plan_restricted", "Active subscription needed"), ForbiddenError),
        (error(403, "forbidden", "You do not have the required scope (write_conversations)"), ForbiddenError),
        (error(400, "intercom_version_invalid", "Requested resource is not available"), ApiError),
    ],
)
def test_a_refusal_of_the_token_or_the_plan_stops_the_batch_at_once(
    server: Hostile, refusal: Act, kind: type[ApiError]
) -> None:
    # Also in the middle of a batch: a token may be revoked while it is used.
    server.script(*[healthy()] * 30, *[refusal] * 500)
    made = run(server, people(300), concurrency=5)
    assert isinstance(made.fatal, kind)
    assert made.counts.sent == 30
    # A slow machine reads the first refusal while the threads are some requests ahead.
    assert len(server.requests) < 150


@pytest.mark.parametrize(
    "refusal",
    [
        error(402, "payment_required", "Payment required"),
        error(404, "admin_not_found", "Admin not found"),
        error(406, "media_type_not_acceptable"),
        error(400, "parameter_invalid", "Invalid template"),
        error(422, "parameter_invalid", "Template is paused"),
        error(405, "client_error", "not allowed for this type of admin"),
    ],
)
def test_the_same_refusal_for_the_first_messages_stops_the_batch(server: Hostile, refusal: Act) -> None:
    server.script(*[refusal] * 1_000)
    made = run(server, people(500))
    assert isinstance(made.fatal, CommonRefusalError)
    assert "refused alike" in str(made.fatal)
    assert "a retry would meet the same" in str(made.fatal)
    # Fifty show it; a slow machine reads the fiftieth while the threads are some requests ahead.
    assert len(server.requests) < 200
    assert made.counts.transient == 0
    assert made.counts.rejected + made.counts.not_sent == 500


def test_different_refusals_are_those_of_messages(server: Hostile) -> None:
    server.script(*(error(422, "parameter_invalid", f"Field {number % 3} is wrong") for number in range(200)))
    made = run(server, people(200))
    assert made.fatal is None
    assert made.counts.rejected == 200


def test_refusals_after_an_accepted_message_are_those_of_messages(server: Hostile) -> None:
    server.script(healthy(), *[error(422, "parameter_invalid", "Template is paused")] * 200)
    made = run(server, people(201), concurrency=1)
    assert made.fatal is None
    assert (made.counts.sent, made.counts.rejected) == (1, 200)


@pytest.mark.parametrize(
    "refusal",
    [
        error(422, "parameter_invalid", "Template is paused"),
        UNSUBSCRIBED,
        error(404, "not_found", "User not found"),
    ],
    ids=["invalid", "forbidden", "unknown"],
)
def test_a_retry_that_meets_only_those_who_were_refused_before_goes_on_to_the_end(
    server: Hostile, refusal: Act
) -> None:
    store = Store()
    server.script(*[healthy()] * 5, *[refusal] * 100)
    first = run(server, people(105), store, concurrency=1, contact_wait=0)
    assert (first.fatal, first.counts.sent, first.counts.rejected) == (None, 5, 100)
    server.script(*[refusal] * 100)
    again = run(server, people(106), store, attempt=2, concurrency=1, contact_wait=0)
    assert again.fatal is None
    assert (again.counts.already_sent, again.counts.rejected, again.counts.sent) == (5, 100, 1)


def test_forbidden_for_everybody_stops_the_batch_whatever_the_words(server: Hostile) -> None:
    server.script(*(error(403, "forbidden", f"No {number}") for number in range(300)))
    made = run(server, people(300))
    assert isinstance(made.fatal, ForbiddenError)
    assert len(server.requests) < 150


def test_a_sender_that_does_not_exist_is_found_out_with_a_few_contacts(server: Hostile) -> None:
    server.script(*[error(404, "not_found", "User not found")] * 5_000)
    began = time.monotonic()
    made = run(server, people(300), contact_wait=3)
    assert isinstance(made.fatal, CommonRefusalError)
    assert "sender's admin id" in str(made.fatal)
    assert time.monotonic() - began < 15
    assert len(server.requests) <= 150
    assert made.counts.transient == 0


def test_contacts_that_were_just_created_are_all_messaged(server: Hostile) -> None:
    # Each of them is there when it is asked for the second time.
    seen: set[str] = set()

    def late(exchange: Exchange) -> None:
        contact = exchange.request.json["to"]["id"]
        act = healthy() if contact in seen else error(404, "not_found", "User not found")
        seen.add(contact)
        act.run(exchange)

    server.always(Act(late))
    made = run(server, people(120), contact_wait=30)
    assert made.fatal is None
    assert made.counts.sent == 120
