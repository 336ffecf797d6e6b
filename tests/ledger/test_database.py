"""The user's database: which ones are refused, and how the tables of a ledger come into it."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.ledger.database import open_database
from intercom_provider.ledger.ledger import Attempt, Intent, Result, message_digest
from intercom_provider.ledger.sql import Owner, SqlLedger
from intercom_provider.ledger.tables import ledger_tables
from tests.support import table_sender
from tests.support.databases import connect_ledger
from tests.support.project import PROJECT

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier

    from tests.support.databases import LedgerDatabase

# Each process starts in milliseconds, from one that has imported everything.
_PROCESSES: Final = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([table_sender.__name__])
_WITHOUT_POSTGRES: Final = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "airflow.providers.postgres.hooks.postgres":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
from intercom_provider.ledger.database import open_database
open_database("ledger")
"""


def _set_up(connection: str, start: Barrier, answer: Connection) -> None:
    os.environ["AIRFLOW_CONN_LEDGER"] = connection
    database = open_database("ledger")
    start.wait(60)
    answer.send(database.set_up())


def test_processes_that_set_up_at_the_same_moment_agree_on_one_salt(database: LedgerDatabase) -> None:
    start, (answers, answer) = _PROCESSES.Barrier(5), _PROCESSES.Pipe(duplex=False)
    arguments = (json.dumps(database.connection), start, answer)
    processes = [_PROCESSES.Process(target=_set_up, args=arguments, daemon=True) for _ in range(5)]
    for process in processes:
        process.start()
    salts = {answers.recv() for _ in processes if answers.poll(60)}
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 5
    assert len(salts) == 1
    rows = database.execute("SELECT name, value FROM intercom_messages_meta ORDER BY name")
    assert rows == [("salt", *salts), ("version", "1")]


def test_a_salt_that_is_lost_while_there_are_rows_is_an_error(database: LedgerDatabase) -> None:
    ledger = SqlLedger(open_database("ledger"), Owner("dag", "run", "send", -1, 1, 0), Attempt(), campaign="welcome")
    ledger.begin_try()
    database.execute("DELETE FROM intercom_messages_meta WHERE name = 'salt'")
    salt = open_database("ledger").set_up()
    assert salt
    ledger.commit({}, {"a" * 24: Intent(None, "inapp")})
    database.execute("DELETE FROM intercom_messages_meta WHERE name = 'salt'")
    with pytest.raises(InvalidInputError, match="intercom_messages_meta has lost its salt"):
        open_database("ledger").set_up()


def one_message(dag: str, digest: str) -> SqlLedger:
    """Claim a message and record that it was sent; return the ledger."""
    ledger = SqlLedger(open_database("ledger"), Owner(dag, "run", "send", -1, 1, 0), Attempt(), campaign="welcome")
    ledger.begin_try()
    assert not ledger.commit({}, {digest: Intent("k", "inapp")})
    ledger.commit({digest: Result("sent")}, {})
    return ledger


def test_a_table_of_a_later_release_is_used_as_far_as_it_is_known(
    database: LedgerDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    one_message("monday", "a" * 24)
    database.execute("ALTER TABLE intercom_messages ADD COLUMN opened_at text")
    database.execute("UPDATE intercom_messages_meta SET value = '2' WHERE name = 'version'")
    assert one_message("tuesday", "b" * 24).find("a" * 24)
    assert "has version 2, that of a later release" in caplog.text
    assert database.execute("SELECT digest, opened_at FROM intercom_messages ORDER BY 1") == [
        ("a" * 24, None),
        ("b" * 24, None),
    ]


def test_a_table_of_an_earlier_release_is_used_with_a_warning_until_it_is_migrated(
    database: LedgerDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    one_message("monday", "a" * 24)
    database.execute("UPDATE intercom_messages_meta SET value = '0' WHERE name = 'version'")
    assert one_message("tuesday", "b" * 24).find("a" * 24)
    assert "has version 0, and this release writes version 1: run `airflow intercom ledger init`" in caplog.text
    assert open_database("ledger").migrate() == 0
    assert database.execute("SELECT value FROM intercom_messages_meta WHERE name = 'version'") == [("1",)]


def test_the_digest_of_the_millionth_equal_message_fits_into_its_column(database: LedgerDatabase) -> None:
    digest = message_digest(key=None, message_type="inapp", recipients=[["user_id", "ada"]], salt="salt")
    one_message("monday", f"{digest}#1000000")
    assert database.execute("SELECT digest FROM intercom_messages") == [(f"{digest}#1000000",)]


def test_a_ledger_works_over_either_driver(driver: LedgerDatabase) -> None:
    digests = [f"{number:024}" for number in range(30)]
    intents, sent = dict.fromkeys(digests, Intent("k", "inapp")), dict.fromkeys(digests, Result("sent"))
    ledgers = [
        SqlLedger(open_database("ledger"), Owner(dag, "run", "send", -1, 1, 0), Attempt(), campaign="welcome")
        for dag in ("monday", "tuesday")
    ]
    for ledger in ledgers:
        ledger.begin_try()
        ledger.look_up(digests)
    first, second = ledgers
    assert first.commit({}, intents) == set()
    assert second.commit({}, intents) == set(digests)
    first.commit(sent, {})
    second.look_up(digests)
    assert all(entry and entry.state == "sent" for entry in map(second.find, digests))
    assert driver.execute("SELECT outcome, count(*) FROM intercom_messages GROUP BY outcome") == [("sent", 30)]


@pytest.mark.parametrize("driver", ["psycopg"], indirect=True)
def test_the_database_of_airflow_itself_is_refused(driver: LedgerDatabase) -> None:
    for table in ("dag_run", "task_instance", "alembic_version"):
        driver.execute(f"CREATE TABLE {table} (id integer)")
    with pytest.raises(InvalidInputError, match="leads to Airflow's own metadata database"):
        open_database("ledger").set_up()
    assert driver.execute("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'intercom%'") == [(0,)]


def test_a_user_who_may_not_create_tables_can_use_a_ledger_that_exists(postgres_database: LedgerDatabase) -> None:
    salt = open_database("ledger").set_up()
    postgres_database.execute(
        "CREATE ROLE sender LOGIN PASSWORD 'sender'; GRANT USAGE ON SCHEMA public TO sender;"
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO sender"
    )
    try:
        with pytest.MonkeyPatch.context() as patch:
            connect_ledger(patch, postgres_database, login="sender", password="sender")
            assert open_database("ledger").set_up() == salt
    finally:
        postgres_database.execute("DROP OWNED BY sender; DROP ROLE sender")


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        ({"conn_type": "mysql", "host": "db"}, "is of type mysql: a ledger is a table in PostgreSQL"),
        ({"conn_type": "http", "host": "db"}, "is of type http: a ledger"),
        ({"conn_type": "sqlite", "host": "ledger.db"}, "needs the absolute path of an SQLite file"),
        ({"conn_type": "sqlite"}, "needs the absolute path of an SQLite file"),
    ],
)
def test_what_cannot_hold_a_ledger_is_refused_by_name(
    connection: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(connection))
    with pytest.raises(InvalidInputError, match=f"^ledger_conn_id: the connection ledger {words}"):
        open_database("ledger")


def test_a_connection_that_airflow_does_not_have_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"^ledger_conn_id: Airflow has no connection nowhere"):
        open_database("nowhere")


def test_a_missing_package_is_named() -> None:
    env = {**os.environ, "AIRFLOW_CONN_LEDGER": json.dumps({"conn_type": "postgres", "host": "db"})}
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", _WITHOUT_POSTGRES], env=env, cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode
    assert "pip install 'airflow-provider-intercom[postgres]'" in done.stderr


@pytest.mark.parametrize("name", ["", "Messages", "a b", "a;b", "1st", "x" * 41, 'a"b', "public.messages"])
def test_a_name_that_no_table_can_have_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^ledger_table: "):
        ledger_tables(name)


def test_the_statements_for_those_who_create_tables_by_hand_create_them(database: LedgerDatabase) -> None:
    statements = open_database("ledger").ddl()
    for statement in statements.split(";\n"):
        database.execute(statement.rstrip(";"))
    assert open_database("ledger").set_up()


@pytest.mark.parametrize("uri", ["sqlite:///{}", "sqlite:////{}"])
def test_the_path_of_an_sqlite_file_may_come_in_a_uri(uri: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.db"
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", uri.format(str(path).lstrip("/") if uri.endswith("////{}") else path))
    assert open_database("ledger").set_up()
    assert path.is_file()
