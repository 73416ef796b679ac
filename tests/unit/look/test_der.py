# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a certificate says, read without a library: the same as cryptography reads, and never anything but our error."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._host._der import SIZE_LIMIT, DerError, read_certificate
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(
    *, names=(), subject="s", issuer="i", serial=1, not_before=None, not_after=None, key=KEY, organization=None
) -> bytes:
    def name(common):
        rows = [x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else []
        rows += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
        return x509.Name(rows)

    now = datetime.datetime(2026, 3, 1)
    builder = x509.CertificateBuilder(
        subject_name=name(subject),
        issuer_name=name(issuer),
        public_key=key.public_key(),
        serial_number=serial,
        not_valid_before=not_before or now,
        not_valid_after=not_after or now + datetime.timedelta(days=90),
    ).add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    "key",
    [KEY, rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()],
    ids=["ec", "rsa", "ed25519"],
)
def test_every_kind_of_key_makes_a_certificate_that_is_read(key) -> None:
    import ipaddress

    names = [
        x509.DNSName("a.example"),
        x509.DNSName("xn--bcher-kva.example"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.7")),
        x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
        x509.RFC822Name("somebody@example.net"),
    ]
    der = certificate(names=names, subject="router", issuer="Bücher CA", serial=(1 << 159) - 1, key=key)
    read, known = read_certificate(der), x509.load_der_x509_certificate(der)
    assert read.names == ("a.example", "xn--bcher-kva.example", "192.0.2.7", "2001:db8::1")
    assert (read.subject, read.issuer) == ("router", "Bücher CA")
    assert read.serial == "%x" % known.serial_number
    assert read.not_after == known.not_valid_after_utc.timestamp()
    assert read.not_before == known.not_valid_before_utc.timestamp()
    assert read.sha256 == known.fingerprint(hashes.SHA256()).hex()


def test_without_a_common_name_the_organization_is_told() -> None:
    assert read_certificate(certificate(issuer="", organization="Example AG")).issuer == "Example AG"
    assert read_certificate(certificate(issuer="")).issuer == ""


@pytest.mark.parametrize("year", [1951, 1999, 2049, 2050, 9999])
def test_both_kinds_of_time_are_read(year) -> None:
    end = datetime.datetime(year, 12, 31, 23, 59, 59)
    der = certificate(not_before=datetime.datetime(1950, 1, 1), not_after=end)
    assert read_certificate(der).not_after == end.replace(tzinfo=datetime.timezone.utc).timestamp()


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_junk_is_refused_with_our_error(data: bytes) -> None:
    with pytest.raises(DerError):
        read_certificate(data)


GOOD = certificate(names=[x509.DNSName("a.example")])


@given(st.data())
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damage_is_read_or_refused_and_never_anything_else(data) -> None:
    damaged = bytearray(GOOD)
    for _unused in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    for candidate in (bytes(damaged), bytes(damaged[:cut])):
        try:
            read_certificate(candidate)
        except DerError as error:
            assert "\n" not in str(error)


def test_a_huge_certificate_is_not_read() -> None:
    with pytest.raises(DerError, match="the limit is %d" % SIZE_LIMIT):
        read_certificate(b"\x30" * (SIZE_LIMIT + 1))
