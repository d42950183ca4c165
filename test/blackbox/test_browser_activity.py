"""Recordings and their player in Chromium, and the routes behind them."""

import gzip
import json
import re

import pytest

from browser import Browser, need_browser
from terminal import Browser as Web
from tport import BIN, wait_for


@pytest.fixture(scope="module")
def browser(cluster):
    need_browser()
    made = Browser(cluster)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def admin(cluster, browser):
    """Signed in, in the window "main"; may read every recording."""
    person = cluster.person("ops-admin", logins="root")
    browser.open("/web/servers")
    browser.sign_in(person)
    return person


def recorded(cluster, person, command, node="node1"):
    """Runs command on a node; the id of the session when its recording is sealed."""
    def ran():
        return {event["sid"] for event in cluster.audit(type="session.end") if event["user"] == person.name and event.get("initial_command") == [command]}
    before = ran()
    person.tport("ssh", f"root@{node}", command, check=True)
    # By its command: under load the shell of an earlier test is stored now, too.
    [sid] = wait_for(lambda: ran() - before)
    wait_for(lambda: [event for event in cluster.audit(type="session.upload") if event["sid"] == sid])
    return sid


def stream(sid, query=""):
    return f"/v1/webapi/sites/test/sessions/{sid}/stream{query}"


# ---- the route ----

def test_a_recording_comes_in_pieces(cluster):
    person = cluster.person("piece-reader", logins="root")
    sid = recorded(cluster, person, "seq 1 60000")
    web = Web(person).sign_in()
    first = web.ask("GET", stream(sid))
    assert first.status == 200 and first.headers["Content-Type"] == "application/x-asciicast"
    assert first.headers["Cache-Control"] == "no-store" and first.headers["X-Content-Type-Options"] == "nosniff"
    size = int(first.headers["Recording-Size"])
    assert size > 256 * 1024 >= len(first.body) and first.headers["Recording-Done"] == "no"
    text, done = first.body, "no"
    while done == "no":
        piece = web.ask("GET", stream(sid, f"?offset={len(text)}&bytes=100000"))
        assert 0 < len(piece.body) <= 100000
        text, done = text + piece.body, piece.headers["Recording-Done"]
    assert len(text) == size
    lines = text.decode().splitlines()
    assert json.loads(lines[0])["version"] == 2
    said = "".join(event[2] for event in map(json.loads, lines[1:]) if event[1] == "o")
    assert said.split() == [str(n) for n in range(1, 60001)]
    # Exactly what the command line gets, which goes the same way through auth; and one access is one event.
    assert "60000" in person.tport("play", "--format=text", sid, check=True).stdout
    seen = [event for event in cluster.audit(type="session.recording.access") if event["sid"] == sid]
    assert len(seen) <= 2 and {event["user"] for event in seen} == {"piece-reader"}
    for query in ("?offset=-1", "?offset=x", "?bytes=1e9", "?offset=99999999999999999999"):
        assert web.ask("GET", stream(sid, query)).status == 400, query
    behind = web.ask("GET", stream(sid, "?offset=999999999"))
    assert behind.status == 200 and behind.body == b"" and behind.headers["Recording-Done"] == "yes"


def test_R3_who_may_play_a_recording(cluster):
    owner = cluster.person("rec-owner", roles="access", logins="root")
    other = cluster.person("rec-other", roles="access", logins="root", sign_in=False)
    auditor = cluster.person("rec-auditor", roles="auditor", logins="", sign_in=False)
    nobody = cluster.person("rec-nobody", roles="editor", logins="", sign_in=False)
    sid = recorded(cluster, owner, "echo my secret")
    web = {person.name: Web(person).sign_in() for person in (owner, other, auditor, nobody)}
    assert {name: one.ask("GET", stream(sid)).status for name, one in web.items()} == {
        "rec-owner": 200, "rec-other": 404, "rec-auditor": 200, "rec-nobody": 403}
    # One answer for what is not there and what is not his.
    assert web["rec-other"].ask("GET", stream("0" * 8 + "-0000-0000-0000-" + "0" * 12)).status == 404
    for name in ("x", "..", "a" * 400, sid + "x", sid.upper()):
        assert web["rec-auditor"].ask("GET", stream(name)).status in (400, 404), name
    assert web["rec-auditor"].ask("GET", stream(sid).replace("/test/", "/other/")).status == 404
    # Half a session, another one's half, a page of another site.
    one, two = web["rec-owner"], web["rec-other"]
    assert cluster.https("GET", stream(sid), headers={"Cookie": one.cookie}).status == 401
    assert cluster.https("GET", stream(sid), headers={"Authorization": f"Bearer {one.token}"}).status == 401
    assert cluster.https("GET", stream(sid), headers={"Cookie": two.cookie, "Authorization": f"Bearer {one.token}"}).status == 401
    # The list says the same.
    found = {name: [event["sid"] for event in one.ask("GET", f"/webapi/sites/test/events/search/sessions?search={sid}").json().get("events", [])]
             for name, one in web.items()}
    assert found == {"rec-owner": [sid], "rec-other": [], "rec-auditor": [sid], "rec-nobody": []}
    # Locked: at once, with a page that is open.
    cluster.ctl("lock", "--user=rec-auditor", "--ttl=10m")
    assert web["rec-auditor"].ask("GET", stream(sid)).status == 403


def test_recordings_are_searched_by_the_server(cluster):
    person = cluster.person("rec-finder", logins="root")
    here = recorded(cluster, person, "echo needle-one")
    there = recorded(cluster, person, "echo needle-two", node="node2")
    web = Web(person).sign_in()

    def found(query):
        reply = web.ask("GET", f"/webapi/sites/test/events/search/sessions?user=rec-finder&{query}")
        assert reply.status == 200, reply.text
        return [event["sid"] for event in reply.json()["events"]]

    assert found("") == [there, here]
    assert found("sort=started:asc") == [here, there]
    assert found("hostname=node2") == [there] and found("hostname=node") == []
    assert found("search=NEEDLE-one") == [here] and found("search=needle%20node2") == [there]
    assert found(f"search={here}") == [here] and found("search=needle,nothing") == []
    assert found("from=2999-01-01T00:00:00Z") == [] and found("to=2001-01-01T00:00:00Z") == []
    assert found("limit=1") == [there]
    page = web.ask("GET", "/webapi/sites/test/events/search/sessions?user=rec-finder&limit=1").json()
    assert found(f"limit=1&startKey={page['startKey']}") == [here]
    assert web.ask("GET", "/webapi/sites/test/events/search/sessions?sort=age:asc").status == 400
    assert found("search=" + "x" * 5000) == []


def test_only_the_player_may_compile(cluster):
    """WebAssembly is allowed for one page; no other policy is wider than it was."""
    for page in ("/web", "/web/recordings", "/web/terminal/node1", "/web/playerx", "/web/player"):
        assert "wasm" not in cluster.https("GET", page).headers["Content-Security-Policy"], page
    policy = cluster.https("GET", "/web/player/some-id").headers["Content-Security-Policy"]
    assert policy.replace(" 'wasm-unsafe-eval'", "") == cluster.https("GET", "/web").headers["Content-Security-Policy"]
    assert "unsafe-inline" not in policy and "'unsafe-eval'" not in policy


# ---- the pages ----

@pytest.mark.parametrize("look", ["en-light-desktop", "ko-dark-phone"])
def test_recordings_page(cluster, browser, admin, look):
    language, theme, device = look.split("-")
    sid = recorded(cluster, admin, "echo from-node1; sleep 0.3; echo 'done <b>'")
    recorded(cluster, admin, "echo from-node2", node="node2")
    browser.evaluate(script=f"localStorage.setItem('tport.language', '{language}'); localStorage.setItem('tport.theme', '{theme}')")
    browser.size(width=360, height=740) if device == "phone" else None
    wait_for(lambda: (browser.visit("/web/recordings?user=ops-admin"), browser.see(target="tr:has-text('from-node1')"),
                      browser.count(target="tr:has-text('from-node2')"))[2] > 0)
    loaded = "performance.getEntriesByType('resource').some((one) => /\\/(player|terminal|editor)-/.test(one.name))"
    assert not browser.evaluate(script=loaded)
    browser.usable()
    browser.picture(f"recordings-{look}", full=device == "phone")
    # The frame of a place ends where its text does.
    spare = "[...document.querySelectorAll('.tags > .tag')].map((one) => one.getBoundingClientRect().right - one.lastElementChild.getBoundingClientRect().right)"
    room = browser.evaluate(script=spare)
    assert room and max(room) < 10, room
    browser.fill(target="input[type=search]", text="from-node1")
    browser.see(target="tr:has-text('from-node2')", count=0)
    assert "search=from-node1" in browser.url()
    browser.fill(target="input[type=date] >> nth=0", text="2999-01-01")
    browser.see(target=".empty")
    browser.click(target=".empty button")
    browser.visit("/web/recordings?search=from-node&from=2999-01-01&user=ops-admin")
    browser.see(target=".empty")
    browser.visit(f"/web/recordings?search={sid}")
    browser.popup(target="tr:has-text('from-node1') a.button", **{"as": "player"})
    browser.click(name="player", target=f"label={'Play' if language == 'en' else '재생'}")
    browser.see(name="player", target=".ap-term-text:has-text('from-node1')")
    browser.see(name="player", target=".ap-term-text:has-text('done <b>')")
    browser.size(name="player", width=360, height=740) if device == "phone" else None
    assert browser.evaluate(name="player", script=loaded)
    browser.usable(name="player")
    browser.picture(f"player-{look}", name="player")
    browser.close_page(name="player")
    browser.evaluate(script="localStorage.removeItem('tport.language'); localStorage.removeItem('tport.theme')")
    browser.size(width=1280, height=800)


def test_player_controls(cluster, browser, admin):
    """Seek, speed, skipped pauses, by mouse and by keyboard; the file is what was recorded."""
    sid = recorded(cluster, admin, "echo first; sleep 4; echo second; sleep 0.5; echo third")
    browser.visit(f"/web/player/{sid}")
    text = ".ap-term-text"
    browser.click(target="label=Play")
    # The pause of four seconds is one here: the end is there in less than four.
    browser.see(target=f"{text}:has-text('third')", timeout=3900)
    length = float(browser.evaluate(script="document.querySelector('.play-bar').max"))
    assert 1 < length < 3
    browser.click(target="label.play-choice input[type=checkbox]")
    wait_for(lambda: float(browser.evaluate(script="document.querySelector('.play-bar').max")) > 4)
    browser.press(key="Home")
    browser.focus(target=".play-bar")
    browser.press(key="Home")
    browser.see(target=f"{text}:has-text('third')", count=0)
    browser.focus(target="label=Play")
    browser.press(key="End")
    browser.see(target=f"{text}:has-text('third')")
    browser.press(key="Home")
    browser.see(target=f"{text}:has-text('second')", count=0)
    browser.select(target=".play-choice select", value="8")
    browser.focus(target="label=Play")
    browser.press(key=" ")
    browser.see(target=f"{text}:has-text('third')", timeout=3000)
    saved = browser.download(target=".player-bar button")
    assert saved["name"] == f"{sid}.cast" and json.loads(saved["text"].splitlines()[0])["version"] == 2
    assert saved["text"].count("\n") >= 3 and "third" in saved["text"]


def replace(cluster, sid, data):
    """The file of a recording, as an evil host (or disk) could have made it."""
    path = cluster.daemon.data / "auth" / "recordings" / f"{sid}.cast.gz"
    assert path.exists()
    path.write_bytes(gzip.compress(data))


ESC = "\x1b"
HOSTILE = [
    "<img src=x onerror=alert(1)><script>alert(2)</script><svg onload=alert(3)>",
    f"{ESC}]0;title {ESC}\\{ESC}]2;TITLE\x07",                                   # window titles
    f"{ESC}]8;;javascript:alert(4){ESC}\\click me{ESC}]8;;{ESC}\\",              # links
    f"{ESC}]8;;https://evil.example/{ESC}\\and me{ESC}]8;;\x07",
    f"{ESC}]52;c;c3RvbGVu{ESC}\\{ESC}]52;c;?\x07{ESC}]52;p;c3RvbGVu\x07",        # clipboard, both ways
    f"{ESC}]1337;File=inline=1:AAAA\x07{ESC}]1337;CurrentDir=/x\x07",            # pictures
    f"{ESC}Pq#0;2;0;0;0#0~~@@vv@@~~@@~~$-{ESC}\\{ESC}_Ga=T,f=100;AAAA{ESC}\\",    # sixel, kitty
    f"{ESC}[21t{ESC}[c{ESC}[6n{ESC}[5n{ESC}P+q544e{ESC}\\",                      # questions
    f"{ESC}[8;9999;9999t{ESC}[3;0;0t{ESC}[?1004h{ESC}[?2004h{ESC}[?1049h{ESC}[?1000h",
    f"{ESC}[999999999999999999;99999999999H{ESC}[4294967295@{ESC}[2147483647b",
    f"{ESC}]{'A' * 100000}", f"{ESC}[{'1;' * 20000}m", f"{ESC}P{'q' * 50000}",
    f"{ESC}c{ESC}[2J{ESC}[H", "\x07\x08\x7f\x00\x0e\x0f\x9b31m\x90\x9d0;x\x9c", "\ud800\udfff\ufdd0\uffff" + "e\u0301" * 300 + "\u202egnp.exe",
    "\U0001f600" * 500, "end of the hostile list",
]


def test_hostile_recordings_are_inert(cluster, browser, admin):
    """Nothing of it runs, opens, names, copies, asks or resizes; what is left is painted. Violations of the
    Content-Security-Policy, dialogs, script errors and requests elsewhere fail each command (drive.mjs)."""
    sid = recorded(cluster, admin, "echo harmless")
    header = {"version": 2, "width": 10**9, "height": -5, "timestamp": "x", "title": HOSTILE[0], "env": {"SHELL": HOSTILE[0]},
              "theme": {"fg": "red;background:url(https://evil.example)", "bg": HOSTILE[0], "palette": HOSTILE[0]}, "idle_time_limit": -1}
    events = [[0.01 * n, "o", text] for n, text in enumerate(HOSTILE)]
    events[3:3] = [[1e300, "r", "999999999x99999999"], [-5, "r", "0x0"], [0.02, "r", HOSTILE[0]], [0.02, "m", HOSTILE[0]], [0.02, "i", HOSTILE[0]],
                   [0.02, "x", "1"], [0.03, "r", "80x24"]]
    lines = [json.dumps(header), "not json", "[1]", "{}", "null", '["x","o","y"]', '[0.1,"o",{"a":1}]', '[0.1,{"toString":1},"z"]', '[1e999,"o","infinite"]'] + [json.dumps(event) for event in events]
    replace(cluster, sid, "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n\xff\xfe\n[0.5,\"o\",\"cut")
    browser.evaluate(script="navigator.clipboard.writeText('mine')")
    browser.visit(f"/web/player/{sid}")
    assert "damaged" in browser.see(target=".note.warn")
    wait_for(lambda: float(browser.evaluate(script="document.querySelector('.play-bar').max")) > 1)
    browser.press(key="End")
    browser.picture("player-hostile")
    browser.see(target=".ap-term-text:has-text('end of the hostile list')")
    shown = browser.text(target=".ap-term-text")
    assert "gnp.exe" in shown and "\u202e" not in shown
    assert browser.evaluate(script="navigator.clipboard.readText()") == "mine"
    wait_for(lambda: "ops-admin" in browser.evaluate(script="document.title"))  # the name is asked for by itself
    assert "title" not in browser.evaluate(script="document.title").lower()
    assert browser.evaluate(script="document.querySelectorAll('.play-screen a, .play-screen img, .play-screen script, .play-screen iframe, .play-screen [onload]').length") == 0
    assert browser.evaluate(script="document.documentElement.scrollWidth - innerWidth") <= 0
    browser.usable()
    browser.picture("player-hostile")


@pytest.mark.parametrize("data", [b"", b"\n\n", b"<html><script>alert(1)</script>", b'{"version":3,"term":{}}\n', b"[1,2,3]\n", b"\x00" * 5000], ids=["empty", "lines", "html", "v3", "list", "zeros"])
def test_what_is_no_recording_is_said(cluster, browser, admin, data):
    sid = recorded(cluster, admin, "echo x")
    replace(cluster, sid, data)
    browser.visit(f"/web/player/{sid}")
    said = browser.see(target=".note.bad, .empty h2")
    assert "damaged" in said or "Nothing was printed" in said
    browser.usable()


def test_a_recording_that_is_not_there(browser, admin):
    browser.visit("/web/player/00000000-0000-0000-0000-000000000000")
    assert "no recording with this id" in browser.see(target=".note.bad")
    browser.usable()
    assert re.search(r"/web/player/", browser.url())


@pytest.mark.parametrize("look", ["en-light-desktop", "ko-dark-phone"])
def test_running_sessions_are_watched_and_ended(cluster, browser, admin, look):
    language, theme, device = look.split("-")
    shell = admin.spawn(BIN / "tport", "ssh", "root@node1")
    shell.sendline("echo before-$((5+5))")
    shell.expect("before-10")
    browser.evaluate(script=f"localStorage.setItem('tport.language', '{language}'); localStorage.setItem('tport.theme', '{theme}')")
    browser.size(width=360, height=740) if device == "phone" else None
    browser.visit("/web/sessions")
    row = "tr:has-text('root@node1')"
    browser.see(target=row)
    browser.usable()
    browser.popup(target=f"{row} a.button", **{"as": "live"})
    browser.size(name="live", width=360, height=740) if device == "phone" else None
    browser.see(name="live", target=".ap-term-text:has-text('before-10')")
    shell.sendline("echo live-$((30+3)) '<script>alert(1)</script>'")
    browser.see(name="live", target=".ap-term-text:has-text('live-33')")
    browser.see(name="live", target=".dot.on")
    browser.usable(name="live")
    browser.picture(f"live-{look}", name="live")
    browser.see(target=f"{row} .chip.warn:has-text('ops-admin')")
    browser.usable()
    browser.picture(f"sessions-{look}", full=device == "phone")
    # Size follows the person's window.
    shell.setwinsize(30, 100)
    shell.sendline("stty size")
    browser.see(name="live", target=".ap-term-text:has-text('30 100')")
    browser.click(target=f"{row} td.end button")
    browser.fill(target="dialog input", text="enough for today")
    browser.usable()
    browser.picture(f"sessions-end-{look}")
    browser.click(target="dialog button.main")
    shell.expect("enough for today")
    browser.see(target=row, count=0)
    browser.see(name="live", target=".play-line a.button")
    assert "enough for today" not in browser.text(name="live", target="h1")
    browser.click(name="live", target=".play-line a.button")
    browser.see(name="live", target=".play-bar")
    browser.close_page(name="live")
    browser.evaluate(script="localStorage.removeItem('tport.language'); localStorage.removeItem('tport.theme')")
    browser.size(width=1280, height=800)
    shell.close(force=True)


def test_a_session_that_may_not_be_watched(browser, admin):
    browser.visit("/web/player/00000000-0000-0000-0000-000000000000?live=1")
    assert "no running session" in browser.see(target=".note.bad")
    browser.usable()
