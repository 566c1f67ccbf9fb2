from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from tests.page.stage import TOKEN, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

ORIGIN = "http://localhost"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage.made(tmp_path_factory.mktemp("page"))
    yield made
    made.close()


@pytest.fixture
def client(stage: Stage) -> TestClient:
    """A browser that is not logged in."""
    return TestClient(stage.app(), base_url=ORIGIN, follow_redirects=False)


@pytest.fixture
def operator(client: TestClient) -> TestClient:
    """A browser with a session."""
    done = client.post("/login", data={"token": TOKEN}, headers={"Origin": ORIGIN})
    assert done.status_code == 303, done.text
    return client
