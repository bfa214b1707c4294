"""Lakes and servers for the dashboard's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tables import TableStore
from tests.dashboard import browser, lakes


@pytest.fixture(scope="session")
def full_lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A complete small lake; tests only read it."""
    return lakes.full_lake(tmp_path_factory.mktemp("full") / "lake")


@pytest.fixture
def empty_lake(tmp_path: Path) -> str:
    """A lake whose tables have no rows."""
    TableStore(str(tmp_path / "lake")).create()
    return str(tmp_path / "lake")


@pytest.fixture(scope="session")
def server(full_lake: str) -> Iterator[str]:
    """The address of a dashboard that shows the full lake."""
    with browser.served(full_lake) as address:
        yield address


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    with browser.chromium() as opened:
        yield opened
