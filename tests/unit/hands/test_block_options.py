# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directives in blocks are read as their servers read them, and an edit keeps every other byte."""

from __future__ import annotations

import typing as t
from xml.etree import ElementTree

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._merge import undo
from ansible_collections.connsec.tls.plugins.module_utils._core._option_formats import (
    OptionRefused,
    read,
)
from ansible_collections.connsec.tls.plugins.module_utils._core._options import Setting, edit
from hypothesis import given, settings
from hypothesis import strategies as st

SITE = """\
# the shop
server {
\tlisten 80 default_server;
\tlisten [::]:80 default_server;
\tserver_name shop.example www.shop.example;

\tlocation / {
\t\tproxy_pass http://app.example:8080; # the application
\t}
}

server { listen 10.0.0.1:81; server_name "admin.example"; }
"""

XML = """\
<?xml version="1.0"?>
<!-- <Connector port="1"/> -->
<!DOCTYPE Server [ <!ENTITY x "y"> ]>
<Server port="-1">
  <Service name='Catalina'>
    <Connector port="8080" protocol="HTTP/1.1"
               redirectPort="8443" />
    <![CDATA[ <Connector port="2"/> ]]>
  </Service>
</Server>
"""

CONNECTOR = XML[XML.index("    <Conn") : XML.index("    <![")]

READ = [
    # format, text, section, key, value
    ("nginx", "user www-data;", "", "user", "www-data"),
    ("nginx", "user www-data;", "", "group", None),
    ("nginx", "user www-data;", "http", "user", None),
    ("nginx", "a 'x y'  \"z\" # remark\n  b;", "", "a", "'x y' \"z\" b"),
    ("nginx", "# user www-data;\n", "", "user", None),
    ("nginx", "log '#' #';\n;", "", "log", "'#'"),
    ("nginx", "map $x $y {\n  '~^a{1};' b;\n}\n", "map $x $y", "~^a{1};", "b"),
    ("nginx", "set $a ${b}c;", "", "set $a", "${b}c"),
    ("nginx", "events {}\nhttp { server { listen 80; } }", "http > server", "listen", "80"),
    ("nginx", "events {}\nhttp { server { listen 80; } }", "server", "listen", "80"),
    ("nginx", "http { listen 1; server { listen 80; } }", "http", "listen", "1"),
    ("nginx", SITE, "server[listen *:80|listen *:443]", "server_name", "shop.example www.shop.example"),
    ("nginx", SITE, "server[listen *:81]", "server_name", '"admin.example"'),
    ("nginx", SITE, "server[listen *:1]", "server_name", None),
    ("nginx", SITE, "server[server_name www.shop.example]", "listen *:80", "default_server"),
    ("nginx", SITE, "server[server_name admin.example]", "listen *:81", ""),
    ("nginx", SITE, "server[listen *:80]", "listen *:81", None),
    ("nginx", SITE, "server", "listen *:80", "default_server\n"),
    ("nginx", SITE, "server[listen *:80] > location /", "proxy_pass", "http://app.example:8080"),
    ("nginx", SITE, "location /", "proxy_pass http://app.example:8080", ""),
    ("nginx", SITE, "*[proxy_pass http://app.example:8080]", "proxy_pass", "http://app.example:8080"),
    ("nginx", "location ~ ^/[ab] { a 1; }", "location ~ ^/[ab][]", "a", "1"),
    ("nginx", "location ~ ^/[ab] { a 1; }", "location *", "a", None),
    ("nginx", "a 1;\r\nb 2;\r\n", "", "b", "2"),
    ("nginx", "\ufeffa 1;", "", "a", "1"),
    ("haproxy", "global\n  daemon\nfrontend web\n  bind :80\n", "frontend web", "bind *:80", ""),
    ("haproxy", "frontend web\nbind 10.0.0.1:80 name a # remark\n", "*[bind *:80]", "bind *:80", "name a"),
    ("haproxy", "frontend web\n bind :80,:443\n", "frontend web", "bind *:443", None),
    ("haproxy", "frontend web\n bind :80\n  default_backend b\nbackend b\n", "backend b", "default_backend", None),
    ("haproxy", "backend b\n server a h:1 check\n", "backend b", "server a", "h:1 check"),
    ("haproxy", "backend b\n server a h:1 check\n", "backend *", "server a", "h:1 check"),
    ("haproxy", 'defaults\n log-format "%h # x" y\n', "defaults", "log-format", '"%h # x" y'),
    ("haproxy", "defaults\n a b\\ c\\#d\n", "defaults", "a", "b\\ c\\#d"),
    ("haproxy", "defaults\n a b#c\n", "defaults", "a", "b"),
    ("haproxy", "#frontend x\n# bind :80\n", "*", "bind *:80", None),
    ("apache", "Listen 80\n", "", "listen *:80", ""),
    ("apache", "LISTEN [::]:80 http\n", "", "Listen *:80", "http"),
    ("apache", "<IfModule ssl_module>\n Listen 443\n</IfModule>\n", "", "Listen *:443", ""),
    ("apache", "<IfModule !ssl_module>\n Listen 443\n</IfModule>\n", "", "Listen *:443", None),
    ("apache", "# Listen 80 \\\nListen 81\n", "", "Listen *:81", None),
    ("apache", "A b \\\n  c\n", "", "A", "b c"),
    ("apache", "A b # c\n", "", "a", "b # c"),
    ("apache", '<virtualhost *:80>\n ServerName "x y"\n</VirtualHost>\n', "VirtualHost *:80", "servername", '"x y"'),
    ("apache", "<VirtualHost 10.0.0.1:80>\nA 1\n</VirtualHost>", "VirtualHost *:80", "A", "1"),
    ("apache", "<VirtualHost *:80>\nA 1\n<IfModule x>\nB 2\n</IfModule>\n</VirtualHost>", "VirtualHost *:80", "B", "2"),
    ("apache", "<VirtualHost *:80>\n<Directory />\nA 1\n</Directory>\n</VirtualHost>", "VirtualHost *:80", "A", None),
    (
        "apache",
        "<VirtualHost *:80>\n<Directory />\nA 1\n</Directory>\n</VirtualHost>",
        "VirtualHost *:80 > Directory /",
        "A",
        "1",
    ),
    ("apache", '<FilesMatch "\\.(?:cgi|php)$">\nA 1\n</FilesMatch>', "FilesMatch *", "A", "1"),
    ("xml", XML, "Server", "port", "-1"),
    ("xml", XML, "Server > Service[name Catalina] > Connector[port 8080|port 8443]", "redirectPort", "8443"),
    ("xml", XML, "Connector", "port", "8080"),
    ("xml", XML, "Connector", "redirect", None),
    ("xml", XML, "Connector[port 1]", ".", None),
    ("xml", XML, "Connector[port 8080]", ".", ""),
    ("xml", "<a b='&lt;&#65;&#x42;&amp;amp;&unknown;'/>", "a", "b", "<AB&amp;&unknown;"),
    ("nginx", SITE, "server[listen *:80]", ".", ""),
    ("nginx", SITE, "server[listen *:82]", ".", None),
    ("hba", "# TYPE\nhost all all 0.0.0.0/0 md5\n", "", "host all all 0.0.0.0/0", "md5"),
    ("hba", 'local "my db" all  peer # remark\n', "", "local * all", "peer"),
    ("hba", 'host all all samehost ldap ldapserver="a b" x\n', "", "host all all samehost", 'ldap ldapserver="a b" x'),
]


@pytest.mark.parametrize(("form", "text", "section", "key", "value"), READ)
def test_a_directive_is_read_as_its_server_reads_it(form, text, section, key, value) -> None:
    assert read(text, form, section, key) == value


def put(section: str, key: str, value: str | None, like: str | None = None) -> Setting:
    return Setting(section, key, value, like=like)


SHOP = "server[listen *:80|listen *:443]"
EDITED = [
    # format, before, settings, after
    ("nginx", "", [put("", "user", "a")], "user a;\n"),
    ("nginx", "a 1;", [put("", "b", "2")], "a 1;\nb 2;"),
    ("nginx", "a 1;\r\n", [put("", "b", "2")], "a 1;\r\nb 2;\r\n"),
    ("nginx", "\ufeffa 1;\n", [put("", "b", "2")], "\ufeffa 1;\nb 2;\n"),
    ("nginx", "a 1; # kept\n", [put("", "a", "2")], "a 2; # kept\n"),
    ("nginx", "a\t1  2;\n", [put("", "a", "3")], "a\t3;\n"),
    ("nginx", "a 1;\n", [put("", "a", "")], "a;\n"),
    ("nginx", "a;\n", [put("", "a", "1")], "a 1;\n"),
    ("nginx", "a 1;\nb 2;\na 3;\n", [put("", "a", "4")], "b 2;\na 4;\n"),
    ("nginx", "a 1;\nb 2;\na 3;\n", [put("", "a", None)], "b 2;\n"),
    ("nginx", "a 1; b 2; c 3;\n", [put("", "b", None)], "a 1; c 3;\n"),
    ("nginx", "s {\n}\n", [put("s", "a", "1")], "s {\n    a 1;\n}\n"),
    ("nginx", "\ts {\n\t}\n", [put("s", "a", "1")], "\ts {\n\t\ta 1;\n\t}\n"),
    ("nginx", "s { }\n", [put("s", "a", "1")], "s { a 1; }\n"),
    ("nginx", "s { b 1; }\n", [put("s", "a", "1")], "s { b 1; a 1; }\n"),
    ("nginx", "s {\n  l {\n    b 1;\n  }\n}\n", [put("s", "a", "1")], "s {\n    a 1;\n  l {\n    b 1;\n  }\n}\n"),
    (
        "nginx",
        "s {\n  b 1;\n  l {\n  }\n  c 1;\n}\n",
        [put("s", "a", "1")],
        "s {\n  b 1;\n  a 1;\n  l {\n  }\n  c 1;\n}\n",
    ),
    (
        "nginx",
        "s {\n  a 1;\n}\ns {\n  a 2;\n  b 1;\n}\n",
        [put("s", "b", "2")],
        "s {\n  a 1;\n  b 2;\n}\ns {\n  a 2;\n  b 2;\n}\n",
    ),
    (
        "nginx",
        "s {\n listen [::]:443;\n listen 443 ssl;\n}\n",
        [put("s", "listen *:443", "ssl")],
        "s {\n listen [::]:443 ssl;\n listen 443 ssl;\n}\n",
    ),
    ("nginx", SITE, [put("server[listen *:1]", "a", None)], SITE),
    (
        "nginx",
        SITE,
        [put(SHOP, "listen *:443", "ssl"), put(SHOP, "ssl_certificate", "/c"), put(SHOP, "listen *:80", None)],
        SITE.replace(
            "\tlisten 80 default_server;\n\tlisten [::]:80 default_server;\n", "\tlisten *:443 ssl;\n"
        ).replace(
            "\tserver_name shop.example www.shop.example;\n",
            "\tserver_name shop.example www.shop.example;\n\tssl_certificate /c;\n",
        ),
    ),
    (
        "nginx",
        SITE,
        [put("location /", "proxy_pass", "https://app.example:8443"), put("location /", "proxy_ssl_verify", "on")],
        SITE.replace(
            "proxy_pass http://app.example:8080; # the application\n",
            "proxy_pass https://app.example:8443; # the application\n\t\tproxy_ssl_verify on;\n",
        ),
    ),
    ("haproxy", "frontend a\n", [put("frontend a", "bind *:1", "ssl")], "frontend a\n    bind *:1 ssl\n"),
    (
        "haproxy",
        "frontend a\n  bind :80 # kept\n  mode http\n\n# b\nbackend b\n  server s h:1\n",
        [put("*[bind *:80]", "bind *:443", "ssl crt /c"), put("backend b", "server s", "h:2 ssl")],
        "frontend a\n  bind :80 # kept\n  bind *:443 ssl crt /c\n  mode http\n\n# b\nbackend b\n  server s h:2 ssl\n",
    ),
    (
        "haproxy",
        "frontend a\n  bind :80\n  mode http\n",
        [put("frontend a", "bind *:80", None)],
        "frontend a\n  mode http\n",
    ),
    (
        "apache",
        "Listen 80\n\n<IfModule ssl_module>\n\tListen 443\n</IfModule>\n",
        [put("", "Listen *:81", "https")],
        "Listen 80\nListen *:81 https\n\n<IfModule ssl_module>\n\tListen 443\n</IfModule>\n",
    ),
    ("apache", "<IfModule x>\nA 1\n</IfModule>\n", [put("", "a", "2")], "<IfModule x>\nA 2\n</IfModule>\n"),
    ("apache", "A 1 \\\n 2\nB 1\n", [put("", "a", "3")], "A 3\nB 1\n"),
    ("apache", "A 1 \\\n 2\nB 1\n", [put("", "A", None)], "B 1\n"),
    (
        "apache",
        "<VirtualHost *:80>\n  A 1\n</VirtualHost>\n",
        [put("VirtualHost *:443", "SSLEngine", "on", "VirtualHost *:80")],
        "<VirtualHost *:80>\n  A 1\n</VirtualHost>\n\n<VirtualHost *:443>\n  A 1\n  SSLEngine on\n</VirtualHost>\n",
    ),
    (
        "apache",
        "<VirtualHost *:80>\nA 1\n</VirtualHost>\n<VirtualHost 10.0.0.1:80>\nA 2\n</VirtualHost>",
        [put("VirtualHost *:443", "B", "1", "VirtualHost *:80")],
        "<VirtualHost *:80>\nA 1\n</VirtualHost>\n\n<VirtualHost *:443>\nA 1\nB 1\n</VirtualHost>\n"
        "<VirtualHost 10.0.0.1:80>\nA 2\n</VirtualHost>\n\n<VirtualHost *:443>\nA 2\nB 1\n</VirtualHost>",
    ),
    (
        "apache",
        "<VirtualHost *:80>\n</VirtualHost>\n",
        [put("VirtualHost *:443", "B", None, "VirtualHost *:80")],
        "<VirtualHost *:80>\n</VirtualHost>\n",
    ),
    ("xml", '<a b="1" c="2"/>', [put("a", "b", "x & <y>")], '<a b="x &amp; &lt;y&gt;" c="2"/>'),
    ("xml", "<a\n  b='1'\n  c='2' />", [put("a", "b", None)], "<a\n  c='2' />"),
    ("xml", "<a><b/></a>", [put("a", "c", "1")], '<a c="1"><b/></a>'),
    ("xml", "<a>\n</a>\n", [put("a > b[c 1] > d", "e", "2")], '<a>\n  <b c="1">\n    <d e="2"/>\n  </b>\n</a>\n'),
    ("xml", "<a>text</a>", [put("a > b", ".", "")], "<a>text<b/></a>"),
    (
        "xml",
        XML,
        [put("Connector[port 8080]", ".", None)],
        XML.replace(CONNECTOR, ""),
    ),
    ("xml", "<a><b><b/></b></a>", [put("b", ".", None)], "<a></a>"),
    ("nginx", "a 1;\ns {\n  t 1;\n}\nb 2;\n", [put("s", ".", None)], "a 1;\nb 2;\n"),
    (
        "haproxy",
        "defaults\n a 1\n\nbackend b\n c 1\nbackend d\n",
        [put("backend b", ".", None)],
        "defaults\n a 1\n\nbackend d\n",
    ),
    ("apache", "A 1\n<V *:80>\nB 2\n</V>\n", [put("V *:80", ".", None)], "A 1\n"),
    (
        "hba",
        "1 sip:a:5060;transport=tcp\n",
        [put("", "1 sip:a:5061;transport=tls", ""), put("", "1 sip:a:5060;transport=tcp", None)],
        "1 sip:a:5061;transport=tls\n",
    ),
    (
        "hba",
        "# first match\nlocal all all peer\nhost all all 0.0.0.0/0 md5\n",
        [put("", "hostnossl all all 0.0.0.0/0", "reject")],
        "# first match\nhostnossl all all 0.0.0.0/0 reject\nlocal all all peer\nhost all all 0.0.0.0/0 md5\n",
    ),
    (
        "hba",
        "host all all 0.0.0.0/0 md5 # kept\n",
        [put("", "host all all 0.0.0.0/0", "scram-sha-256 clientcert=verify-full")],
        "host all all 0.0.0.0/0 scram-sha-256 clientcert=verify-full # kept\n",
    ),
]


@pytest.mark.parametrize(("form", "before", "wanted", "after"), EDITED)
def test_an_edit_keeps_every_other_byte_settles_at_once_and_can_be_undone(form, before, wanted, after) -> None:
    assert edit(before, form, wanted) == after
    assert edit(after, form, wanted) == after
    for each in wanted:
        assert read(after, form, each.section, each.key) == each.value
    assert undo(before, after, after) == before


REFUSED = [
    # format, text, setting, what the sentence says
    ("nginx", "", put("server", "a", "1"), "a: there is no block 'server'; make it, or name the one that is meant"),
    ("nginx", "a {", put("", "a", "1"), "line 1 cannot be read: a block or a directive is not closed"),
    ("nginx", "a;\n}", put("", "a", "1"), "line 2 cannot be read: '}' is out of place"),
    ("nginx", "a { b }", put("", "a", "1"), "line 1 cannot be read: '}' is out of place"),
    ("nginx", 'a "b;', put("", "a", "1"), "line 1 cannot be read: a quote is not closed"),
    ("nginx", "", put("", "a", "1; b 2"), "a cannot be set to '1; b 2' in a file of format nginx"),
    ("nginx", "", put("", "password", "1; b 2"), r"password cannot be set to '\*{8}'"),
    ("nginx", "", put("", "a", "1 # b"), "cannot be read: a block or a directive is not closed"),
    ("nginx", "", put("", "a;b", "1"), "'a;b' cannot be the name of an option in a file of format nginx"),
    ("nginx", "", put("", "a  b", "1"), "'a  b' cannot be the name"),
    ("nginx", "", put("", "", "1"), "'' cannot be the name"),
    ("nginx", "", put("", "a", "1\nb 2"), "a holds a line end or another control character"),
    ("nginx", "", put("", "a", " 1"), "a: the value has blanks that readers drop, or ends in a backslash"),
    ("nginx", "", put("", "a", "1\\"), "or ends in a backslash"),
    ("xml", "<!-- nothing yet -->", put("", "port", "1"), "'port' has to stand in an element; name that in section"),
    ("nginx", "", put("[listen 80]", "a", "1"), r"'\[listen 80\]' is no section"),
    ("nginx", "", put("s]", "a", "1"), r"'s\]' is no section; it is a path of blocks such as"),
    ("nginx", "", Setting("", "a", "1", separator="="), "a: format nginx has no separators; leave separator out"),
    ("nginx", "", put("t", "a", "1", "s"), "block 't' cannot be made: there is none like 's'"),
    ("ini", "", put("t", "a", "1", "s"), r"\[t\] a: format ini has no blocks that could be copied; leave like out"),
    ("haproxy", "defaults\n", put("defaults", "a", "b # c"), "a cannot be set to 'b # c' in a file of format haproxy"),
    ("haproxy", "defaults\n a 'b\n", put("defaults", "a", "c"), "line 2 cannot be read: a quote is not closed"),
    (
        "xml",
        "<a b=1/>",
        put("a", "b", "2"),
        "line 1 cannot be read: a tag is not closed, or",
    ),
    ("xml", "<a>\n</b>", put("a", "b", "2"), "line 2 cannot be read: </b> closes nothing"),
    ("xml", "<a>", put("a", "b", "2"), "line 1 cannot be read: <a> is not closed"),
    ("xml", "<a/>", put("b", "c", "2"), "element 'b' cannot be made: there is no place for it, or no name"),
    ("xml", "<a/>", put("a > *", "c", "2"), "element 'a > [*]' cannot be made"),
    ("xml", "<a/>", put("a", "b c", "2"), "'b c' cannot be the name of an option in a file of format xml"),
    ("nginx", "", put("", ".", "1"), "cannot be set to '1'"),
    ("apache", "<A>\n", put("", "a", "c"), "line 2 cannot be read: <a> is not closed"),
    ("apache", "<A>\n</B>\n", put("", "a", "c"), "line 2 cannot be read: </b> closes nothing"),
    ("apache", "<A\n", put("", "a", "c"), "line 1 cannot be read: a tag is not closed"),
    ("apache", "<>\n", put("", "a", "c"), "line 1 cannot be read: a tag is not closed, or has no name"),
]


@pytest.mark.parametrize(("form", "text", "setting", "says"), REFUSED)
def test_what_cannot_be_set_is_refused_in_one_sentence(form, text, setting, says) -> None:
    with pytest.raises(OptionRefused, match=says):
        edit(text, form, [setting])


# Any file and any edit

NAMES = ("listen", "bind", "Listen", "a", "server_name", "server")
VALUES = ("80", "*:443 ssl", "[::]:80", "x y", "'q r'", "")


def written(form: str, tree: t.Sequence[t.Any], depth: int = 0) -> str:
    """Return a file that holds these directives and blocks."""
    lead, mark = "  " * depth, ";" if form == "nginx" else ""
    text = ""
    for kind, name, value, inner in tree:
        if kind == "remark":
            text += lead + "# %s %s\n\n" % (name, value)
        elif kind == "block" and form == "nginx":
            text += "%s%s {\n%s%s}\n" % (lead, name, written(form, inner, depth + 1), lead)
        elif kind == "block" and form == "apache":
            text += "%s<%s *:80>\n%s%s</%s>\n" % (lead, name, written(form, inner, depth + 1), lead, name)
        elif kind == "block" and form == "haproxy" and depth == 0:
            text += "backend %s\n%s" % (name, written(form, inner, 1))
        else:
            text += ("%s%s %s" % (lead, name, value)).rstrip() + mark + "\n"
    return text


LEAF = st.tuples(st.sampled_from(["directive", "remark"]), st.sampled_from(NAMES), st.sampled_from(VALUES), st.just([]))
TREES = st.recursive(
    st.lists(LEAF, max_size=4),
    lambda inner: st.lists(
        LEAF | st.tuples(st.just("block"), st.sampled_from(["s", "v"]), st.just(""), inner), max_size=4
    ),
    max_leaves=12,
)
SECTIONS: dict[str, list[str]] = {
    "nginx": ["", "s", "v", "s > v", "*[listen *:80]", "s[a x|bind 80]"],
    "apache": ["", "s *:80", "V *", "S *:80 > v *:80", "*[listen *:80]"],
    "haproxy": ["backend s", "backend *", "*[bind *:80|bind *:443]"],
    "hba": [""],
}
KEYS = ["listen *:80", "listen *:443", "a", "a x", "bind *:443", "new"]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(SECTIONS)), TREES, st.data())
def test_an_edit_is_refused_or_reads_back_and_leaves_all_else(form: str, tree: t.Any, data: st.DataObject) -> None:
    text = written(form, tree)
    section, key = data.draw(st.sampled_from(SECTIONS[form])), data.draw(st.sampled_from(KEYS))
    value = data.draw(st.none() | st.sampled_from(["", "ssl", "x y", "'q r'"]))
    try:
        edited = edit(text, form, [put(section, key, value)])
    except OptionRefused:
        return
    assert read(edited, form, section, key) == value
    assert edit(edited, form, [put(section, key, value)]) == edited
    assert undo(text, edited, edited) == text
    kept = [line for line in text.split("\n") if key.split()[0].lower() not in line.lower()]
    left = edited.split("\n")
    for line in kept:
        left.remove(line)  # every other line is there as it was


ATTRIBUTES = st.dictionaries(st.sampled_from(["a", "b", "port"]), st.sampled_from(["1", "x &amp; y", ""]), max_size=3)
ELEMENTS = st.recursive(
    st.tuples(st.sampled_from(["s", "v"]), ATTRIBUTES, st.just(())),
    lambda inner: st.tuples(st.sampled_from(["s", "v"]), ATTRIBUTES, st.lists(inner, max_size=3)),
    max_leaves=8,
)


def element(tree: t.Any, lead: str = "") -> str:
    """Return an XML text that holds this element."""
    name, attributes, inner = tree
    tag = name + "".join(" %s='%s'" % row for row in attributes.items())
    below = "".join("%s  %s\n" % (lead, element(each, lead + "  ")) for each in inner)
    return "<%s>\n%s%s</%s>" % (tag, below, lead, name) if inner else "<%s/>" % tag


@settings(max_examples=100, deadline=None)
@given(
    ELEMENTS,
    st.sampled_from(["s", "s > v", "v[port 1|port 2]", "r > new[port 1] > s"]),
    st.sampled_from(["a", "port", "new", "."]),
    st.none() | st.sampled_from(["", "1", "<&'\">"]),
)
def test_an_edit_of_xml_is_refused_or_reads_back_and_stays_xml(tree: t.Any, section, key, value) -> None:
    text = "<r>\n  <!-- <s/> -->\n  %s\n</r>\n" % element(tree, "  ")
    try:
        edited = edit(text, "xml", [put(section, key, value)])
    except OptionRefused:
        return
    ElementTree.fromstring(edited)
    assert read(edited, "xml", section, key) == value
    assert edit(edited, "xml", [put(section, key, value)]) == edited
    assert undo(text, edited, edited) == text
