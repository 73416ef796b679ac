# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""International names become A-labels."""

from __future__ import annotations

import unicodedata

import pytest

pytest.importorskip("idna")

from ansible_collections.connsec.tls.plugins.module_utils._core._model import Document, ModelError, parse_model
from ansible_collections.connsec.tls.plugins.module_utils._core._names import NameRefused
from ansible_collections.connsec.tls.plugins.plugin_utils._idna import to_a_label

NAMES = [
    ("b\u00fccher.example", "xn--bcher-kva.example"),
    ("B\u00dcCHER.example", "xn--bcher-kva.example"),
    ("\u4f8b\u3048.jp", "xn--r8jz45g.jp"),
    ("\u4f8b\u3048\u3002jp", "xn--r8jz45g.jp"),  # an ideographic full stop
    ("stra\u00dfe.example", "xn--strae-oqa.example"),
    ("\u043f\u0440\u0438\u043c\u0435\u0440.example", "xn--e1afmkfd.example"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
    ("plain.example", "plain.example"),
    ("web1.b\u00fccher.example", "web1.xn--bcher-kva.example"),
    ("\u6771\u4eactower.jp", None),
]


@pytest.mark.parametrize(("name", "a_label"), NAMES, ids=ascii)
def test_an_international_name_becomes_its_a_label(name, a_label):
    for form in ("NFC", "NFD"):
        found = to_a_label(unicodedata.normalize(form, name), "dial")
        assert found == a_label or (a_label is None and found.startswith("xn--"))
        assert found.isascii()


REFUSED = [
    "ex\u0430mple.net",  # a Cyrillic a among Latin letters
    "\u03bfpen.example",  # a Greek o
    "xn--exmple-4nf.net",  # the first one, as its A-label
    "b\u00fccher..example",
    "b\u00fccher.example.",
    "\u00fc" * 64 + ".example",
    "\u2603.example",  # a snowman is no letter
    "\u202eb\u00fccher.example",
    "b\u00fccher /x.example",
    "b\u00fccher_x.example",
    "*.b\u00fccher.example",
    "-b\u00fccher.example",
    "xn--bcher-kv.example.",
    "xn--\u00fc.example",
    "xn--a.example",
    "\u0300a.example",  # begins with a mark
    "\u00fc\x00.example",
    ("\u00fc" * 20 + ".") * 30 + "example",
]


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_a_name_that_is_none_or_imitates_another_is_refused(name):
    with pytest.raises(NameRefused, match=r"^dial: "):
        to_a_label(name, "dial")


def fleet(name):
    return {
        "components": {
            "a": {"kind": "k", "hosts": ["h1"]},
            "b": {"kind": "k", "hosts": ["h2"], "listeners": {"l": {"port": 1, "protocol": "p"}}},
        },
        "connections": [{"client": "a", "server": "b.l", "dial": name}],
        "identities": {"i": {"names": [name]}},
        "hosts": {"h2": {"addresses": [name]}},
    }


def test_a_model_holds_a_labels_only():
    model = parse_model([Document("f", fleet("b\u00fccher.example"))], a_label=to_a_label)
    assert model.pairs[0].dial == "xn--bcher-kva.example"
    assert model.identities["i"].names == ("xn--bcher-kva.example",)
    assert model.hosts["h2"].addresses == ("xn--bcher-kva.example",)


def test_two_spellings_of_one_name_are_one():
    data = fleet("b\u00fccher.example")
    data["hosts"]["h2"]["addresses"] = ["b\u00fccher.example", "bu\u0308cher.example"]
    with pytest.raises(ModelError, match="stands there twice"):
        parse_model([Document("f", data)], a_label=to_a_label)
