"""What the tests of the Bizagi package take from npm: installed for these tests alone."""

import platform
import sys

import pytest

from tests.conftest import npm_install

_SYSTEM = {"linux": "linux", "darwin": "darwin", "win32": "win"}.get(sys.platform, sys.platform)
_MACHINE = {"x86_64": "x64", "AMD64": "x64", "aarch64": "arm64"}.get(
    platform.machine(), platform.machine()
)


@pytest.fixture(scope="session")
def npm(tmp_path_factory):
    """Return the folder with the packages: Bizagi's utilities, an engine, releases of Node.js."""
    folder = tmp_path_factory.mktemp("npm")
    node = f"npm:node-{_SYSTEM}-{_MACHINE}"
    npm_install(
        folder,
        *("bz-util@2.1.0", "bpmn-engine@25"),
        *(f"node-10@{node}@10", f"node-20@{node}@20", f"node-newest@{node}@latest"),
    )
    return folder
