"""Adding servers and Kubernetes clusters in the browser, to the green line."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

import chart
from browser import Browser, need_browser
from machine import Machine
from tport import BIN, Daemon


@pytest.fixture(scope="module")
def browser(cluster):
    need_browser()
    made = Browser(cluster)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def admin(cluster, browser):
    person = cluster.person("join-admin", logins="root", sign_in=False)
    browser.open("/web/servers")
    browser.sign_in(person)
    return person


@pytest.mark.parametrize("look", ["en-light-desktop", "ko-dark-phone"])
def test_add_server_until_it_is_green(cluster, browser, admin, look):
    language, theme, device = look.split("-")
    add, make, done = {"en": ("Add server", "Make the line", "has joined"), "ko": ("서버 추가", "명령 만들기", "참여했습니다")}[language]
    name = f"added-{language}"
    browser.evaluate(script=f"localStorage.setItem('tport.language', '{language}'); localStorage.setItem('tport.theme', '{theme}')")
    browser.visit("/web/servers")
    if device == "phone":
        browser.size(width=360, height=740)
    browser.click(target=f".head button:has-text('{add}')")
    browser.usable()
    # Mistakes are said beside the field, and nothing is made.
    for wrong in ("env", "env=a'b", "a b=c", "env=dev, env=x", "env=$(id)"):
        browser.fill(target="dialog input.mono", text=wrong)
        browser.see(target="dialog .note.bad")
        assert browser.evaluate(script="document.querySelector('dialog button.main').disabled"), wrong
    browser.usable()
    browser.fill(target="dialog input.mono", text=f"env=dev, made={language}")
    browser.see(target="dialog .note.bad", count=0)
    browser.click(target=f"dialog button:has-text('{make}')")
    line = browser.see(target="dialog .command:has-text('install-node.sh') code").strip()
    assert re.fullmatch(r'sudo bash -c "\$\(curl -fsSL --cacert tport-ca\.pem https://%s/scripts/[0-9a-f]{32}/install-node\.sh\)"' % re.escape(cluster.proxy), line), line
    save = browser.see(target="dialog .command:has-text('BEGIN CERTIFICATE') code")
    browser.see(target="dialog .waiting")
    browser.usable()
    browser.picture(f"add-server-{look}")
    place = Machine(cluster, name)
    try:
        # As a person does it: both blocks, pasted.
        ran = place.sh(f"cd /run && {save}\n{line.removeprefix('sudo ')}")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        place.start(re.search(r"^    (/usr/local/bin/tportd -c \S+)$", ran.stdout, re.M).group(1))
        assert name in browser.see(target=f"dialog .note.good:has-text('{done}')")
        browser.usable()
        browser.picture(f"add-server-done-{look}")
        browser.click(target="dialog button.main")
        row = browser.see(target=f"tr:has-text('{name}'):has-text('made=')")
        assert re.search(r"second|now" if language == "en" else r"초|지금", row), row
        browser.usable()
        # It goes: the list says so, and since when.
        place.daemon.terminate()
        cluster.wait_online(name, online=False)
        browser.visit("/web/servers")
        row = browser.see(target=f"tr:has-text('{name}')")
        assert ("offline, last seen" if language == "en" else "오프라인, 마지막 확인") in row, row
        assert browser.count(target=f"tr:has-text('{name}') button[aria-expanded]") == 0
        browser.usable()
    finally:
        place.stop()
        browser.size(width=1280, height=800)
        browser.evaluate(script="localStorage.removeItem('tport.language'); localStorage.removeItem('tport.theme')")
        cluster.ctl("rm", "node/" + next(node["metadata"]["name"] for node in cluster.node_list() if node["spec"]["hostname"] == name))


def words_of(command):
    """As a shell splits it."""
    done = subprocess.run(["sh", "-c", "for one in " + command.replace("| kubectl", "") + "; do printf '%s\\0' \"$one\"; done"], capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


@pytest.mark.parametrize("look", ["en-light-desktop", "ko-dark-phone"])
def test_add_kubernetes_until_it_is_green(cluster, browser, admin, look, tmp_path):
    language, theme, device = look.split("-")
    add, make, done = {"en": ("Add Kubernetes", "Make the line", "has joined"), "ko": ("쿠버네티스 추가", "명령 만들기", "참여했습니다")}[language]
    browser.evaluate(script=f"localStorage.setItem('tport.language', '{language}'); localStorage.setItem('tport.theme', '{theme}')")
    browser.visit("/web/kubernetes")
    if device == "phone":
        browser.size(width=360, height=740)
    browser.usable()
    browser.click(target=f".head button:has-text('{add}')")
    for wrong in ("a b", "a'b", "-a", "a#b", "a&b", "$(id)", "a\\"):
        browser.fill(target="dialog input[name=cluster]", text=wrong)
        browser.see(target="dialog .note.bad")
        assert browser.evaluate(script="document.querySelector('dialog button.main').disabled"), wrong
    name = f"IMAGE/{language}.1@x"
    browser.fill(target="dialog input[name=cluster]", text=name)
    browser.fill(target="dialog input[placeholder]", text="env=dev, app.example.com/tier=web front, number=0123")
    browser.fill(target="dialog input[name=image]", text="registry.example.com:5000/team/tport:0.1.0")
    browser.usable()
    browser.click(target=f"dialog button:has-text('{make}')")
    command = browser.see(target="dialog .command code")
    browser.usable()
    browser.picture(f"add-kubernetes-{look}")
    words = words_of(command)
    assert words[:6] == ["helm", "install", "tport-agent", "tport-kube-agent", "--create-namespace", "--namespace=tport-agent"]
    assert words[6::2] == ["--set-string"] * len(words[7::2])
    made = chart.render(*words[7::2], flag="--set-string")
    conf = yaml.safe_load(next(item for item in yaml.safe_load_all(made) if item and item["kind"] == "ConfigMap")["data"]["tport.conf"])
    assert conf["kubernetes_service"] == {"enabled": True, "kube_cluster_name": name, "labels": {
        "env": "dev", "app.example.com/tier": "web front", "number": "0123"}}
    assert conf["tport"]["proxy_server"] == cluster.proxy and conf["tport"]["ca_pin"] == [cluster.pin()]
    assert "image: \"registry.example.com:5000/team/tport:0.1.0\"" in made or "image: registry.example.com:5000/team/tport:0.1.0" in made
    token = next(word.split("=")[1] for word in words if word.startswith("authToken="))
    browser.click(target="dialog [role=tab] >> nth=1")
    browser.see(target="dialog .note.warn")  # no labels there
    command = browser.see(target="dialog .command:has-text('kubectl') code")
    browser.usable()
    shutil.copy(chart.PLAIN, tmp_path)
    plain = subprocess.run(["sh", "-c", command.replace("kubectl apply -f -", "cat")], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    items = [item for item in yaml.safe_load_all(plain) if item]
    conf = yaml.safe_load(next(item for item in items if item["kind"] == "ConfigMap")["data"]["tport.conf"])
    assert conf["kubernetes_service"]["kube_cluster_name"] == name and conf["tport"]["proxy_server"] == cluster.proxy
    assert next(item for item in items if item["kind"] == "Secret")["stringData"] == {"auth-token": token}
    assert next(item for item in items if item["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example.com:5000/team/tport:0.1.0"
    # An agent joins with that token; what it serves is named.
    folder = cluster.folder / f"kube-{language}"
    folder.mkdir()
    (folder / "kubeconfig").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": name, "contexts": [
        {"name": name, "context": {"cluster": "c", "user": "u"}}], "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": {"token": "x"}}]}))
    subprocess.run([BIN / "tportd", "node", "configure", "--roles=kube", f"--proxy={cluster.proxy}", f"--token={token}", f"--ca-pin={cluster.pin()}",
                    f"--kubeconfig-file={folder}/kubeconfig", f"--node-name=kube-{language}", f"--data-dir={folder}/data", "-o", str(folder / "made.conf")], check=True)
    agent = Daemon(cluster.net, f"kube-{language}", folder, (folder / "made.conf").read_text())
    agent.start()
    try:
        assert name in browser.see(target=f"dialog .note.good:has-text('{done}')")
        browser.usable()
        browser.picture(f"add-kubernetes-done-{look}")
    finally:
        agent.stop()
        browser.size(width=1280, height=800)
        browser.evaluate(script="localStorage.removeItem('tport.language'); localStorage.removeItem('tport.theme')")
        for node in json.loads(cluster.ctl("get", "kube_server", "--format=json").stdout):
            cluster.ctl("rm", f"kube_server/{node['metadata']['name']}", check=False)


def test_a_token_that_expires_while_the_dialog_is_open(cluster, browser, admin):
    browser.visit("/web/servers")
    browser.click(target=".head button:has-text('Add server')")
    # The page asks for one that lives for seconds; the server allows a shorter life.
    browser.evaluate(script="""(() => { const real = fetch; window.fetch = (url, init) => url === '/webapi/token'
        ? real(url, {...init, body: JSON.stringify({...JSON.parse(init.body), ttl: 1500})}) : real(url, init); })()""")
    browser.click(target="dialog button:has-text('Make the line')")
    browser.see(target="dialog .note.warn:has-text('expired')")
    browser.usable()
    browser.click(target="dialog button:has-text('Make a new one')")
    browser.see(target="dialog button:has-text('Make the line')")
    browser.press(key="Escape")
    browser.see(target="dialog", count=0)


def test_who_may_make_no_token_sees_no_button(cluster, browser):
    person = cluster.person("join-poor", roles="access", logins="root", sign_in=False)
    browser.open("/web/servers", name="poor")
    browser.sign_in(person, name="poor")
    browser.see(name="poor", target="td:has-text('node1')")
    assert "Add server" not in browser.text(name="poor")
    browser.close(name="poor")
