"""Certificates for the tests that speak TLS: one authority and one server certificate for the whole session."""

import stat
from pathlib import Path

import pytest

from trunkproof.loadgen.tls.certificates import Authority, CertificateFiles

SERVER_NAME = "pstn.trunk.test"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder: Path = tmp_path_factory.mktemp("pki")
    folder.chmod(stat.S_IRWXU)
    return Authority(folder)


@pytest.fixture(scope="session")
def server_files(authority: Authority) -> CertificateFiles:
    return authority.issue(SERVER_NAME, "127.0.0.1")
