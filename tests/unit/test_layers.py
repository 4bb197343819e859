"""What import-linter's contracts in pyproject.toml cannot say: where SQL stands, who ends a transaction, no circles."""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

from libs.models.catalog import METHODS

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
OF_SQL = ("libs/jobs/", "libs/registry/", "libs/database/")
NO_STATEMENT = {"Engine", "make_url", "Session"}
"""What is imported from SQLAlchemy without a statement being written: what a transaction is opened on, and is."""
SPEAK_WITH_POSTGRES = {
    "libs/serving/deployments/sync.py": "LISTEN",
    "libs/web/wakeups.py": "LISTEN",
    "services/worker/relay.py": "LISTEN",
    "services/local/postgres.py": "makes the server's account and database",
}


def test_nothing_imports_what_imports_it():
    graph = grimp.build_graph("libs", "services", cache_dir=None)
    TopologicalSorter({one: graph.find_modules_directly_imported_by(one) for one in graph.modules}).prepare()


def test_sql_stands_in_libraries_of_rows_and_in_repositories():
    writing = {file for file, tree in _trees() if not _may_write_sql(file) and set(_statements(tree))}
    assert writing == set()
    speaking = {file for file, tree in _trees() if not _may_write_sql(file) and "psycopg" in _imported(tree)}
    assert speaking == SPEAK_WITH_POSTGRES.keys()


def test_who_opens_a_transaction_ends_it():
    """By leaving the block that `libs.database.engine` opened it with: nobody commits by hand."""
    read = {(file, node.attr) for file, tree in _trees() for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert [file for file, name in read if name == "commit"] == []


def test_each_method_is_kept_apart_from_the_others():
    kept_apart = next(one for one in CONTRACTS if one["name"] == "No method imports another")["modules"]
    assert set(kept_apart) == {method.entry.rpartition(".")[0] for method in METHODS.values()}


@cache
def _trees() -> list[tuple[str, ast.Module]]:
    files = sorted(path for folder in ("libs", "services") for path in (ROOT / folder).rglob("*.py"))
    return [(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())) for path in files]


def _may_write_sql(file: str) -> bool:
    return file.startswith(OF_SQL) or file.endswith("/repository.py")


def _statements(tree: ast.Module) -> Iterator[str]:
    """What a module takes from SQLAlchemy to write statements with."""
    for node in ast.walk(tree):
        source = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if source.partition(".")[0] == "sqlalchemy" and source != "sqlalchemy.exc":
            yield from {alias.name for alias in node.names} - NO_STATEMENT


def _imported(tree: ast.Module) -> set[str]:
    return {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
