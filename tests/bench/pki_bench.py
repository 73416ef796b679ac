# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast identities are issued: against a plain loop in memory, and against community.crypto's modules.

Both ratios are taken in one run, one measurement after the other, because a shared machine is not the same twice.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

HERE = Path(__file__).resolve().parent
COLLECTIONS = HERE.parents[1] / "build"
PASSPHRASE = "a passphrase of the benchmark"

LOOP = """
import datetime, time
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

def loop(count):
    issuer_key = ec.generate_private_key(ec.SECP384R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plain issuer")])
    authority_key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    now = datetime.datetime.now(datetime.timezone.utc)
    began = time.perf_counter()
    for number in range(count):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=90))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("h%d.example.net" % number)]), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(authority_key_id, critical=False)
            .sign(issuer_key, hashes.SHA384())
        )
        certificate.public_bytes(serialization.Encoding.PEM)
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    return time.perf_counter() - began

if __name__ == "__main__":
    import sys
    loop(50)
    print(loop(int(sys.argv[1])))
"""

OURS = """
- name: Ours
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Issue
      connsec.tls.pki:
        identities: "{{ wanted }}"
"""

THEIRS = """
- name: Theirs
  hosts: localhost
  gather_facts: false
  tasks:
    - name: CA key
      community.crypto.openssl_privatekey: {path: "{{ work }}/ca.key", type: ECC, curve: secp384r1}
    - name: CA request
      community.crypto.openssl_csr:
        path: "{{ work }}/ca.csr"
        privatekey_path: "{{ work }}/ca.key"
        common_name: plain issuer
        basic_constraints: ["CA:TRUE"]
        basic_constraints_critical: true
        key_usage: [keyCertSign, cRLSign]
        key_usage_critical: true
    - name: CA certificate
      community.crypto.x509_certificate:
        path: "{{ work }}/ca.pem"
        csr_path: "{{ work }}/ca.csr"
        privatekey_path: "{{ work }}/ca.key"
        provider: selfsigned
    - name: Key
      community.crypto.openssl_privatekey: {path: "{{ work }}/{{ item }}.key", type: ECC, curve: secp256r1}
      loop: "{{ range(count | int) | list }}"
    - name: Request
      community.crypto.openssl_csr:
        path: "{{ work }}/{{ item }}.csr"
        privatekey_path: "{{ work }}/{{ item }}.key"
        subject_alt_name: ["DNS:h{{ item }}.example.net"]
        key_usage: [digitalSignature]
        key_usage_critical: true
        extended_key_usage: [clientAuth, serverAuth]
      loop: "{{ range(count | int) | list }}"
    - name: Certificate
      community.crypto.x509_certificate:
        path: "{{ work }}/{{ item }}.pem"
        csr_path: "{{ work }}/{{ item }}.csr"
        provider: ownca
        ownca_path: "{{ work }}/ca.pem"
        ownca_privatekey_path: "{{ work }}/ca.key"
        ownca_not_after: +90d
        ownca_digest: sha384
      loop: "{{ range(count | int) | list }}"
"""


def _task_seconds(
    playbook: str, variables: t.Mapping[str, t.Any], *, work: Path, ansible: Path, environment: t.Mapping[str, str]
) -> dict[str, float]:
    """Run a playbook and return how long its tasks took, by name."""
    (work / "play.yml").write_text(playbook)
    (work / "variables.json").write_text(json.dumps(variables))
    seconds = work / "seconds.jsonl"
    seconds.unlink(missing_ok=True)
    inventory = work / "inventory"
    inventory.mkdir(exist_ok=True)
    (inventory / "hosts").write_text(
        "localhost ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'\n"
    )
    subprocess.run(
        [str(ansible), "-i", str(inventory), str(work / "play.yml"), "-e", "@%s" % (work / "variables.json")],
        env={
            **os.environ,
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "task_seconds",
            "ANSIBLE_PIPELINING": "true",
            "TASK_SECONDS": str(seconds),
            **environment,
        },
        check=True,
        capture_output=True,
        text=True,
        cwd=work,
    )
    return {line["task"]: line["seconds"] for line in map(json.loads, seconds.read_text().splitlines())}


def _ours(count: int, *, work: Path) -> float:
    """Return the seconds of one pki task that fills an empty store."""
    wanted = [{"name": "service%d@host%d" % (n, n), "names": ["h%d.example.net" % n]} for n in range(count)]
    variables = {"wanted": wanted, "tls_store": str(work / "store"), "tls_store_passphrase": PASSPHRASE}
    ansible = Path(sys.executable).with_name("ansible-playbook")
    environment = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    return _task_seconds(OURS, variables, work=work, ansible=ansible, environment=environment)["Issue"]


def _loop(count: int) -> float:
    done = subprocess.run([sys.executable, "-c", LOOP, str(count)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def wait_for_quiet_disk(work: Path, *, patience: float = 400.0) -> float:
    """Wait until making a file costs what it should, and return the seconds it costs.

    For up to five minutes after many files were removed (by a test run, say), ext4 passes over their inodes one by one
    each time a file is made: two milliseconds instead of thirty microseconds.
    """
    until = time.monotonic() + patience
    while True:
        folder = Path(tempfile.mkdtemp(dir=work))
        began = time.perf_counter()
        for number in range(500):
            os.close(os.open(folder / str(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        seconds = (time.perf_counter() - began) / 500
        if seconds < 0.00005 or time.monotonic() > until:
            return seconds
        time.sleep(15)


def pki_vs_loop(*, count: int = 1000, repeats: int = 5) -> dict[str, float]:
    """Return how much longer the task takes than the loop: durable, journalled and encrypted against none of it.

    The median of the ratios of neighbouring measurements. Stores are removed at the end only: ext4 is slow to make
    files where some were removed in the last seconds, which would be measured instead.
    """
    rows = []
    with tempfile.TemporaryDirectory() as work:
        creation = wait_for_quiet_disk(Path(work))
        for number in range(repeats):
            own = Path(work, str(number))
            own.mkdir()
            loop, task = _loop(count), _ours(count, work=own)
            rows.append((task / loop, task, loop))
    ratio, task, loop = statistics.median_low(rows)
    return {
        "pki_vs_loop": round(ratio, 2),
        "pki_task_seconds": round(task, 3),
        "loop_seconds": round(loop, 3),
        "file_creation_seconds": round(creation, 6),
    }


def pki_vs_community_crypto(*, venv: Path, count: int = 1000, theirs: int = 10) -> dict[str, float]:
    """Return how many times faster an identity is than with community.crypto's three modules in loops.

    Args:
        venv: a virtual environment in which the package ``ansible`` is installed.
        count: identities of ours; theirs are fewer, since a loop over modules costs the same for each.
        theirs: identities of theirs.
    """
    with tempfile.TemporaryDirectory() as work:
        own = Path(work, "ours")
        own.mkdir()
        ours = _ours(count, work=own) / count
        seconds = _task_loop(theirs, venv=venv, work=Path(work))
    return {
        "pki_vs_community_crypto": round(seconds / ours, 1),
        "pki_identity_seconds": round(ours, 6),
        "community_crypto_identity_seconds": round(seconds, 3),
    }


def _task_loop(count: int, *, venv: Path, work: Path) -> float:
    """Return the seconds that one identity costs in loops over community.crypto's modules."""
    none = _whole_play(0, venv=venv, work=work / "none")
    some = _whole_play(count, venv=venv, work=work / "some")
    return (some - none) / count


def _whole_play(count: int, *, venv: Path, work: Path) -> float:
    work.mkdir()
    began = time.perf_counter()
    variables = {"work": str(work), "count": count}
    _task_seconds(THEIRS, variables, work=work, ansible=venv.absolute() / "bin" / "ansible-playbook", environment={})
    return time.perf_counter() - began


if __name__ == "__main__":
    results = pki_vs_loop()
    if len(sys.argv) > 1:
        results.update(pki_vs_community_crypto(venv=Path(sys.argv[1])))
    print(json.dumps(results, indent=2))
