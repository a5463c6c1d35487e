"""The toy policy here, and the same weights behind a server."""

import pytest

from vlascope.serving import PolicyServer
from vlascope_adapters.remote.adapter import RemoteAdapter
from vlascope_adapters.toy.adapter import ToyAdapter


@pytest.fixture(scope="session")
def local():
    return ToyAdapter.from_pretrained("bundled")


@pytest.fixture(scope="session")
def address():
    with PolicyServer(ToyAdapter.from_pretrained("bundled")).running() as address:
        yield address


@pytest.fixture
def remote(address):
    policy = RemoteAdapter.from_pretrained(address)
    yield policy
    policy.close()
