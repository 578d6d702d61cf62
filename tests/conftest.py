"""What all tests share: nobody's own tuning logs decide what they see; and devices, where several files need one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.serving import Client, at
from tvmconv.rpc.client.connection import Remote
from tvmconv.rpc.deploy.local_device import NativeDevice

# The same examples in every run, however busy the machine: a property that failed yesterday fails today.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, max_examples=60)
hypothesis.settings.load_profile("ci")

# Files that compile many kernels or start servers and devices, each for more than 4 s of a core: scripts/test --fast
# leaves them out.
SLOW = frozenset(
    f"test_{name}.py"
    for name in (
        *("algorithms", "avx512", "bench", "builder", "bundle", "claims", "cli", "compile", "deploy", "doctor"),
        *("emulator", "encoding", "examples", "json_schemas", "kernel_file", "log_command", "measure", "neon", "probe"),
        *("race", "rpc_bench", "rpc_client", "scaling", "searchers", "server", "server_limits", "server_machine"),
        *("server_places", "setup", "space", "standalone", "targets", "tracker_client", "tune", "tune_faults"),
        *("tune_remote", "tuned", "turns", "verify", "wheel"),
    )
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of slow files, and puts them first: two files at a time, none of them is left for the end."""
    for item in items:
        if item.path.name in SLOW:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.path.name not in SLOW)


@pytest.fixture(autouse=True)
def no_tuning_logs_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of the test's user, empty."""
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def device() -> Iterator[NativeDevice]:
    """This machine as a device of a tracker."""
    with NativeDevice() as started:
        yield started


@pytest.fixture(scope="module")
def there(device: NativeDevice) -> Iterator[Remote]:
    """The device as a client sees it, its TVM imported once."""
    with Remote(at(device)) as remote:
        yield remote


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """TVM's own client."""
    made = Client()
    yield made
    made.kill()
