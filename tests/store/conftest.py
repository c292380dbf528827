"""How stores are made is what is tested here."""

from collections.abc import Iterator

import pytest

from tests import new_stores


@pytest.fixture(scope="module", autouse=True)
def made_anew() -> Iterator[None]:
    new_stores.made_anew = True
    yield
    new_stores.made_anew = False
