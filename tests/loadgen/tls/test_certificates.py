import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from trunkproof.loadgen.tls.certificates import Authority, CertificateFiles, client_context, server_context
from trunkproof.models.errors import InputError


def _names(files: CertificateFiles) -> set[str]:
    certificate = x509.load_pem_x509_certificate(files.cert_chain_pem.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


def test_a_certificate_carries_host_names_and_addresses(authority: Authority) -> None:
    assert _names(authority.issue("pstn.trunk.test", "127.0.0.1")) == {"pstn.trunk.test", "127.0.0.1"}


def test_only_the_owner_may_read_keys(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    files = Authority(folder).issue("pstn.trunk.test")
    assert stat.S_IMODE(files.key_pem.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_authoritys_own_key_is_not_written(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    assert b"PRIVATE" not in authority.ca_file.read_bytes()
    assert [path.name for path in (tmp_path / "pki").iterdir()] == ["ca.pem"]


def test_issued_certificates_do_not_overwrite_each_other(authority: Authority) -> None:
    first, second = authority.issue("one.test"), authority.issue("two.test")
    assert _names(first) == {"one.test"}
    assert _names(second) == {"two.test"}


def test_a_client_verifies_by_default(authority: Authority) -> None:
    context = client_context(authority.ca_file)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


def test_not_verifying_must_be_asked_for(authority: Authority) -> None:
    context = client_context(authority.ca_file, verify=False)
    assert context.verify_mode is ssl.CERT_NONE


def test_both_versions_are_offered_unless_one_is_asked_for(authority: Authority) -> None:
    context = client_context(authority.ca_file)
    assert (context.minimum_version, context.maximum_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def test_a_version_asked_for_is_the_only_one(authority: Authority) -> None:
    context = client_context(authority.ca_file, versions=["1.2"])
    assert (context.minimum_version, context.maximum_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)


def test_client_certificates_cannot_be_checked_without_a_ca(server_files: CertificateFiles) -> None:
    with pytest.raises(ValueError, match="CA file"):
        server_context(server_files, require_client_certificate=True)


def test_a_missing_ca_file_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="certificate authority: cannot be read"):
        client_context(tmp_path / "absent.pem")


def test_a_key_of_another_certificate_is_the_users_error(authority: Authority) -> None:
    one, two = authority.issue("one.test"), authority.issue("two.test")
    with pytest.raises(InputError, match="does not belong to the first certificate"):
        server_context(CertificateFiles(one.cert_chain_pem, two.key_pem))


def test_the_key_log_is_private(authority: Authority, tmp_path: Path) -> None:
    keylog = tmp_path / "keys.log"
    client_context(authority.ca_file, keylog=keylog)
    assert stat.S_IMODE(keylog.stat().st_mode) == 0o600


def test_after_the_run_no_key_is_left(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    authority.issue("one.test"), authority.issue("two.test")
    authority.discard()
    left = sorted(path.name for path in (tmp_path / "pki").iterdir())
    assert left == ["001-cert.pem", "002-cert.pem", "ca.pem"]
    authority.discard()  # what is gone already is no error
