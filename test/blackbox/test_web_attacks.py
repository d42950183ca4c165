"""What a hostile page, a hostile node or a hostile person can try on the web UI. Chromium is the judge: a script that runs, a
dialog, a request elsewhere or a violation of the Content-Security-Policy fails any command (test/browser/drive.mjs)."""

import json
import re

import pytest

from browser import Browser as Chromium, need_browser
from terminal import Browser
from test_matrix import ROUTES
from tport import Cluster, Daemon, wait_for

# Each would set window.pwned where it is taken for more than text.
CORPUS = [
    "<img src=x onerror=window.pwned=1>",
    "\"><svg onload=window.pwned=1>",
    "'><script>window.pwned=1</script>",
    "</title></textarea></style><script>window.pwned=1</script>",
    "javascript:window.pwned=1//",
    "{{constructor.constructor('window.pwned=1')()}}${window.pwned=1}",
    "<a href=javascript:window.pwned=1>click</a><iframe srcdoc='<script>parent.pwned=1</script>'>",
    "<form action=javascript:window.pwned=1><input autofocus onfocus=window.pwned=1>",
    "</script><!--<script>\u2028\u202ewindow.pwned=1",
]
ALL = " ".join(CORPUS)
UNTOUCHED = """(() => { const bad = [];
  if (window.pwned !== undefined) bad.push('pwned');
  if (document.querySelector('script:not([src]), iframe, object, embed, base, img[src=x], svg[onload]')) bad.push('element');
  for (const one of document.querySelectorAll('*')) for (const name of one.getAttributeNames()) if (/^on/i.test(name)) bad.push(`${one.tagName} ${name}`);
  for (const link of document.querySelectorAll('a[href], form[action]')) if (!/^https:$/.test(link.protocol ?? 'https:')) bad.push(link.outerHTML);
  return bad; })()"""


def quoted(text):
    return json.dumps(text)


@pytest.fixture(scope="module")
def hostile():
    """A cluster in which every text that anybody can set is an attack."""
    need_browser()
    made = Cluster(name="hostile", auth_extra=f"  message_of_the_day: {quoted(ALL)}\n")
    try:
        made.ctl("create", "-f", input=json.dumps(
            {"kind": "role", "version": "v7", "metadata": {"name": "bad", "description": CORPUS[0], "labels": {"x": CORPUS[1]}},
             "spec": {"allow": {"logins": ["root"], "node_labels": {"*": "*"}, "kubernetes_labels": {"*": "*"}, "kubernetes_groups": [text for text in CORPUS if "{" not in text]}}}))
        made.ctl("create", "-f", input=json.dumps({"kind": "token", "version": "v2", "metadata": {"name": "0123456789abcdef" + "'><b>"}, "spec": {"roles": ["Node"]}}))
        labels = "".join(f"    l{n}: {quoted(text)}\n" for n, text in enumerate(CORPUS))
        made.add_node("evil", extra="", change=lambda text: text + "", labels="env=dev")
        made.nodes["evil"].stop()
        conf = made.nodes["evil"].conf
        shown = made.folder / "label.txt"
        shown.write_text(ALL)
        conf.write_text(re.sub(r"(?m)^  labels:\n(?:    .*\n)*", "", conf.read_text()) + f"  labels:\n{labels}  commands:\n  - {{name: dynamic, command: [cat, {shown}], period: 1m}}\n")
        made.nodes["evil"].start()
        made.wait_online("evil")
        folder = made.folder / "kube"
        folder.mkdir()
        (folder / "kubeconfig").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "evil", "contexts": [
            {"name": "evil", "context": {"cluster": "c", "user": "u"}}], "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}],
            "users": [{"name": "u", "user": {"token": "x"}}]}))
        made.nodes["kube"] = Daemon(made.net, "kube", folder, f"""
version: v3
tport: {{nodename: kube, data_dir: {folder}/data, proxy_server: "{made.proxy}", ca_pin: "{made.pin()}",
  join_params: {{method: token, token_name: {json.loads(made.ctl("tokens", "add", "--type=kube", "--format=json").stdout)["token"]}}}}}
ssh_service: {{enabled: no}}
kubernetes_service:
  enabled: yes
  kubeconfig_file: {folder}/kubeconfig
  labels:
{labels}""").start()
        wait_for(lambda: "evil" in made.ctl("kube", "ls").stdout, 60)
        made.person("victim", roles="access,editor,auditor,bad", logins="root", sign_in=True)
        made.ctl("users", "add", "mallory", "--roles=bad")
        made.ctl("create", "-f", input=json.dumps({"kind": "user", "version": "v2", "metadata": {"name": "mallory2"}, "spec": {
            "roles": ["bad"], "traits": {"logins": CORPUS, CORPUS[2]: CORPUS}}}))
        made.ctl("lock", "--user=mallory", f"--message={ALL}")
        made.victim = made.people["victim"]
        # What strangers and users write into the log: names that do not exist, commands, browsers, files, refusals.
        for text in CORPUS:
            made.https("POST", "/webapi/sessions/web", body=json.dumps({"user": text, "pass": "x", "second_factor_token": text}),
                       headers={"Content-Type": "application/json", "User-Agent": text.encode("ascii", "ignore").decode()})
            ran = made.victim.tport("ssh", "root@evil", f"true '{text}'", timeout=60)
            assert ran.returncode != 255, ran
            made.victim.tport("ssh", f"root@{text}", "true", timeout=60)
        log = made.audit(limit=1000)
        assert f"true '{CORPUS[0]}'" in [event["command"] for event in log if event["event"] == "exec"]
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("language", ["en", "ko"])
def test_hostile_texts_are_texts_on_every_page(hostile, language):
    chromium = Chromium(hostile)
    try:
        chromium.open("/web/servers", locale={"en": "en-US", "ko": "ko-KR"}[language])
        chromium.sign_in(hostile.victim)
        chromium.see(target="td:has-text('evil')")
        pages = chromium.evaluate(script="[...document.querySelectorAll('nav a')].map((one) => one.pathname)")
        assert {"/web/servers", "/web/kubernetes", "/web/users", "/web/roles", "/web/tokens", "/web/locks", "/web/audit"} <= set(pages)
        for page in pages:
            chromium.visit(page)
            chromium.see(target="main h1")
            chromium.see(target=".bone", count=0)
            assert chromium.evaluate(script=UNTOUCHED) == [], page
            found = chromium.run("check")
            assert found["wide"] <= 0 and not [one for one in found["found"] if not one.startswith("color-contrast")], (page, found)
            chromium.picture(f"hostile-{page.rsplit('/', maxsplit=1)[1]}-{language}")
            # Whatever opens there is opened.
            buttons = "main td button:not(.tag), main td [aria-expanded]"
            for n in range(min(chromium.count(target=buttons), 6)):
                chromium.visit(page)
                chromium.see(target=".bone", count=0)
                chromium.click(target=f"{buttons} >> nth={n}")
                assert chromium.evaluate(script=UNTOUCHED) == [], (page, n)
        chromium.visit("/web/servers")
        row = chromium.see(target="tr:has-text('evil')")
        assert CORPUS[0] in row and CORPUS[6] in row
        # What turns the direction of reading shows as what it is.
        assert "\u202e" not in row and r"\u202ewindow" in row
        assert "window.pwned" in chromium.text(target=".motd")
        chromium.visit("/web/kubernetes")
        assert CORPUS[3] in chromium.see(target="tr:has-text('evil')")
        chromium.visit("/web/audit")
        chromium.see(target=".bone", count=0)
        chromium.see(target="table:has-text('window.pwned')")
        # Filters by a hostile label, and a hostile address.
        chromium.visit("/web/servers")
        chromium.click(target="button.tag:has-text('onerror') >> nth=0")
        chromium.see(target=".tools .tag.on")
        chromium.see(target="td:has-text('evil')")
        assert chromium.evaluate(script=UNTOUCHED) == []
        for query in ("search=", "sort=", "labels=", "start="):
            chromium.visit(f"/web/servers?{query}%22%3E%3Cimg%20src%3Dx%20onerror%3Dwindow.pwned%3D1%3E")
            chromium.see(target="main h1")
            assert chromium.evaluate(script=UNTOUCHED) == [], query
        for path in ("/web/%3Cimg%20src%3Dx%20onerror%3Dwindow.pwned=1%3E", "/web/users/%22onload=", "/web/terminal/%3Cscript%3E?login=%3Cimg%20src=x%20onerror=window.pwned=1%3E"):
            chromium.visit(path)
            chromium.see(target="body")
            assert chromium.evaluate(script=UNTOUCHED) == [], path
    finally:
        chromium.stop()


def test_what_a_hostile_program_prints_is_text(hostile):
    """Titles, links, clipboard writes, and markup in the output of a shell."""
    chromium = Chromium(hostile)
    try:
        chromium.open("/web/servers")
        chromium.sign_in(hostile.victim)
        chromium.visit("/web/terminal/evil?login=root")
        chromium.see(target=".term-line:has-text('Connected')")
        file = hostile.folder / "attack"
        file.write_text("".join(f"\033]0;{text}\007\033]2;{text}\007\033]8;;javascript:window.pwned=1\007{text}\033]8;;\007\r\n" for text in CORPUS)
                        + "\033]52;c;cHduZWQ=\007\033]52;c;?\007\033P+q544e\033\\\033[21t\033[>c\r\nattack-over\r\n")
        title = chromium.evaluate(script="document.title")
        chromium.type(text=f"clear; cat {file}\n")
        chromium.see(target=".xterm-rows:has-text('attack-over')")
        assert chromium.evaluate(script=UNTOUCHED) == [] and chromium.evaluate(script="document.title") == title
        assert chromium.evaluate(script="navigator.clipboard.readText().catch(() => '')") != "pwned"
    finally:
        chromium.stop()


# --- other sites ---

def test_no_answer_can_be_framed_or_sniffed(cluster):
    for line in ROUTES:
        method, path = line.split(" ")
        path = re.sub(":[a-z]+", "x", path)
        reply = cluster.https(method, path, headers={"Accept-Encoding": "gzip"})
        assert reply.headers["X-Frame-Options"] == "DENY" and reply.headers["X-Content-Type-Options"] == "nosniff", line
        policy = reply.headers["Content-Security-Policy"]
        # The player's terminal is WebAssembly: its page, and no other, may compile that.
        allowed = policy.replace(" 'wasm-unsafe-eval'", "") if path.startswith("/web/player/") else policy
        assert "frame-ancestors 'none'" in policy and "unsafe" not in allowed and "*" not in policy, (line, policy)
        assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin" and reply.headers["Referrer-Policy"] == "no-referrer", line


@pytest.mark.parametrize("path", [
    "/", "//evil.example", "//evil.example/%2e%2e", "/\\evil.example", "/%5cevil.example", "/%2f%2fevil.example", "/web//evil.example", "/.evil.example",
    "/web/login?redirect_uri=https://evil.example/", "/?url=//evil.example", "/web?next=https://evil.example", "/@evil.example", "/http://evil.example",
    "/web/..//evil.example", "/v1//evil.example", "/webapi/../..//evil.example"])
def test_no_open_redirect(cluster, path):
    reply = cluster.https("GET", path)
    assert reply.headers.get("Location", "/web") == "/web" and "Refresh" not in reply.headers, (path, reply.headers)


def test_sign_in_leads_nowhere_else(cluster):
    need_browser()
    person = cluster.person("redirected", sign_in=False)
    chromium = Chromium(cluster)
    try:
        chromium.open("/web/login?redirect_uri=https://evil.example/&next=//evil.example&url=javascript:window.pwned=1")
        chromium.sign_in(person)
        chromium.see(target="main h1")
        assert chromium.url().startswith(f"https://{cluster.proxy}/web/") and chromium.evaluate(script=UNTOUCHED) == []
    finally:
        chromium.stop()


@pytest.mark.parametrize("headers", [
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://{proxy}"}, {"Origin": "https://{proxy}.evil.example"}], ids=str)
def test_no_request_of_another_site_changes_anything(cluster, alice, headers):
    """Even with both halves of the session, which another site cannot have."""
    mine = Browser(alice).sign_in()
    before = len(cluster.audit())
    headers = {key: value.format(proxy=cluster.proxy) for key, value in headers.items()}
    for line, who in ROUTES.items():
        method, path = line.split(" ")
        if method != "GET" and who.startswith("session"):
            path = path.replace(":cluster", "test").replace(":name", "x").replace(":token", "x")
            reply = mine.ask(method, path, {"name": "x", "roles": ["access"], "target": {"user": "x"}}, headers=headers)
            assert reply.status == 403, (line, reply.text)
    assert len(cluster.audit()) == before


def test_R9_no_half_session_reads_anything(cluster, alice):
    """The cookie alone is what another site's form or image would send."""
    mine = Browser(alice).sign_in()
    for line, who in ROUTES.items():
        if who.startswith("session") and "/connect" not in line:
            method, path = line.split(" ")
            path = path.replace(":cluster", "test").replace(":name", "x").replace(":token", "x")
            for half in ({"Cookie": mine.cookie}, {"Authorization": f"Bearer {mine.token}"}):
                assert cluster.https(method, path, headers=half).status in (401, 403), line
