# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast identities are issued: against a plain loop in memory, and against community.crypto's modules.

What is measured of the `pki` task is the task alone, without Ansible's start: it makes authorities, signs, encrypts
every key, writes its journal, and has all of it on the disk when it ends. The loop does the same cryptography, from a
P-384 issuer too, and keeps nothing. All three take turns, and a ratio is that of the least of each, for noise only ever
adds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from commands import PASSPHRASE, PROGRAMS, ROOT, run

HERE: t.Final = Path(__file__).resolve().parent
VENV: t.Final = ROOT / "build" / "venv-bench"

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


def figures(work: Path, *, count: int = 1000, theirs: int = 10, repeats: int = 3) -> dict[str, float]:
    """Return `pki_vs_loop`, and `pki_vs_community_crypto` for one identity.

    Args:
        work: an empty folder. What is made in it stays: ext4 is slow to make files where many were just removed.
        count: identities of ours and of the loop.
        theirs: identities of community.crypto, fewer, since a loop over modules costs the same for each.
        repeats: turns.
    """
    creation = _quiet_file_seconds(work)
    tasks, loops, modules = [], [], []
    for turn in range(repeats):
        own = work / str(turn)
        own.mkdir()
        loops.append(_loop(count))
        tasks.append(_ours(count, work=own / "ours"))
        modules.append(_theirs(theirs, work=own / "theirs"))
    task, loop, module = min(tasks), min(loops), min(modules)
    return {
        "pki_vs_loop": task / loop,
        "pki_vs_community_crypto": (module / theirs) / (task / count),
        "pki_task_seconds": task,
        "loop_seconds": loop,
        "community_crypto_identity_seconds": module / theirs,
        "file_creation_seconds": creation,
    }


def _loop(count: int) -> float:
    done = subprocess.run([sys.executable, "-c", LOOP, str(count)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def _ours(count: int, *, work: Path) -> float:
    """Return the seconds of one pki task that fills an empty store."""
    wanted = [{"name": "service%d@host%d" % (n, n), "names": ["h%d.example.net" % n]} for n in range(count)]
    variables = {"wanted": wanted, "tls_store": str(work / "store"), "tls_store_passphrase": PASSPHRASE}
    return _task_seconds(OURS, variables, work=work, programs=PROGRAMS)["Issue"]


def _theirs(count: int, *, work: Path) -> float:
    """Return the seconds of the three tasks that make identities with community.crypto, those of the CA left out."""
    variables = {"work": str(work), "count": count}
    seconds = _task_seconds(THEIRS, variables, work=work, programs=VENV / "bin")
    return sum(seconds[name] for name in ("Key", "Request", "Certificate"))


def _task_seconds(playbook: str, variables: t.Mapping[str, t.Any], *, work: Path, programs: Path) -> dict[str, float]:
    """Run a playbook in a new folder and return how long its tasks took, by name."""
    (work / "inventory").mkdir(parents=True)
    (work / "inventory" / "hosts.ini").write_text(
        "localhost ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'\n"
    )
    (work / "play.yml").write_text(playbook)
    (work / "variables.json").write_text(json.dumps(variables))
    seconds = work / "seconds.jsonl"
    run(
        *("ansible-playbook", "-i", "inventory", "play.yml", "-e", "@variables.json"),
        folder=work,
        log="play",
        programs=programs,
        ANSIBLE_CALLBACK_PLUGINS=str(HERE / "callback_plugins"),
        ANSIBLE_CALLBACKS_ENABLED="task_seconds",
        TASK_SECONDS=str(seconds),
    )
    return {line["task"]: line["seconds"] for line in map(json.loads, seconds.read_text().splitlines())}


def _quiet_file_seconds(work: Path, *, patience: float = 400.0) -> float:
    """Wait until making a file costs what it should, and return the seconds it costs.

    For up to five minutes after many files were removed (by a test run, say), ext4 passes over their inodes one by one
    each time a file is made: two milliseconds instead of thirty microseconds.
    """
    until = time.monotonic() + patience
    while (seconds := _file_seconds(Path(tempfile.mkdtemp(dir=work)))) > 0.0001 and time.monotonic() < until:
        time.sleep(15)
    return seconds


def _file_seconds(folder: Path) -> float:
    """Return what making a file costs: the least of several batches, so that a busy processor does not count."""
    batches = []
    for batch in range(10):
        began = time.perf_counter()
        for number in range(50):
            os.close(os.open(folder / ("%d-%d" % (batch, number)), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        batches.append(time.perf_counter() - began)
    return min(batches) / 50
