"""The real programs under test: a cluster, its nodes, its people."""

import base64
import contextlib
import hmac
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import time
import urllib.parse

import pexpect

from net import Net

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TPORT_BUILD", ROOT / "build"))
BIN = BUILD / "bin"
ROOT_USER = os.geteuid() == 0
PASSWORD = "seven quiet gates by the river"


def totp(secret, at=None):
    """RFC 6238, as an authenticator app does it."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(at if at is not None else time.time()) // 30), "sha1").digest()
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset:offset + 4])[0] & 0x7fffffff) % 1000000:06d}"


def wait_for(what, timeout=20, step=0.1):
    """Calls what until it gives something true; its last exception or result ends the wait."""
    end = time.monotonic() + timeout
    last = None
    while time.monotonic() < end:
        try:
            last = what()
            if last:
                return last
        except Exception as error:  # pylint: disable=broad-except
            last = error
        time.sleep(step)
    raise AssertionError(f"did not happen within {timeout} s; last: {last!r}")


# A run of tests that is killed leaves nothing behind.
DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL", "--"]

# The start-up files of whoever logs in as root here are not under test: a version manager in one of them may wait for its
# lock for a minute. A daemon, and so each session on it, sees empty ones; its history goes nowhere.
PLAIN_HOME = ["unshare", "-m", "sh", "-c", """cd && for file in .bashrc .profile .bash_profile .bash_login .bash_history; do
[ ! -e $file ] || mount --bind /dev/null $file; done; cd "$OLDPWD" && exec "$@\"""", "sh"]


class Daemon:
    """One tportd with its configuration, in one host of the net."""

    def __init__(self, net, host, folder, conf):
        self.net, self.host, self.folder = net, host, pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        os.chmod(self.folder, 0o755)
        self.conf = self.folder / "tport.conf"
        self.log = self.folder / "tportd.log"
        self.process = None
        self.write(conf)

    def write(self, conf):
        self.conf.write_text(conf)

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.prefix() + [*DIES_WITH_US, str(BIN / "tportd"), "-c", str(self.conf)], stdout=log,
                                            stderr=log, start_new_session=True)
        return self

    def prefix(self):
        return self.net.prefix(self.host) + (PLAIN_HOME if self.net.real else [])

    @property
    def data(self):
        return self.folder / "data"

    def signal(self, word):
        return subprocess.run([str(BIN / "tportd"), "-s", word, "-c", str(self.conf)], capture_output=True, text=True,
                              check=False)

    def children(self, role=None):
        """{pid: title} of the processes that master has started."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(stat[1]) != self.master_pid():
                    continue
                title = re.match(rb"tportd: ([a-z]+)", (entry / "cmdline").read_bytes())
                if title and role in (None, title[1].decode()):
                    found[int(entry.name)] = title[1].decode()
        return found

    def master_pid(self):
        return int((self.data / "tportd.pid").read_text())

    def text(self):
        return self.log.read_text(errors="replace")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(5)
        return self.process.returncode if self.process else None


LOOKED = set()


def sanitizers(program=None, words=()):
    """What sanitized programs are told. To look for leaks takes a small program three times as long as all else that it does: each
    process of the tests lets each command look once."""
    told = {name: value for name, value in os.environ.items() if name.startswith(("ASAN", "UBSAN", "LSAN"))}
    command = (program, *[word for word in map(str, words) if word.isalpha()][:2])
    if program is None or command in LOOKED:
        told["ASAN_OPTIONS"] = f"{told.get('ASAN_OPTIONS', '')}:detect_leaks=0"
    LOOKED.add(command)
    return told


class Person:
    """Somebody with a profile folder, a password and an authenticator."""

    def __init__(self, cluster, name, host=None):
        # A few people share an address: more would run into the limit for strangers of one address.
        self.cluster, self.name = cluster, name
        self.host = host or f"client{len(cluster.people) // 5}"
        self.home = cluster.folder / f"home-{name}"
        self.home.mkdir(exist_ok=True)
        (self.home / ".tport" / "trusted").mkdir(parents=True, exist_ok=True)
        (self.home / ".tport" / "trusted" / f"{cluster.proxy.replace(':', '_').removesuffix('_443')}.pem").write_text(cluster.ca())
        self.secret = None
        self.used_step = 0
        self.password = PASSWORD

    def env(self, told=None):
        return {"HOME": str(self.home), "PATH": f"{BIN}:/usr/bin:/bin:/usr/sbin:/sbin", "TPORT_HOME": str(self.home / ".tport"),
                "TERM": "xterm", "LANG": "C.UTF-8", "USER": self.name,
                **(sanitizers() if told is None else told)}

    def run(self, *command, input=None, timeout=60, check=False, told=None):
        # Nothing of the terminal that the tests run in.
        source = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        result = subprocess.run(self.cluster.net.prefix(self.host) + [str(c) for c in command], **source, capture_output=True, text=True, env=self.env(told), timeout=timeout, cwd=self.home, check=False)
        if check and result.returncode != 0:
            raise AssertionError(f"{command} -> {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def tport(self, *words, **kw):
        return self.run(BIN / "tport", *words, told=sanitizers("tport", words), **kw)

    def spawn(self, *command, **kw):
        words = self.cluster.net.prefix(self.host) + [str(c) for c in command]
        return pexpect.spawn(words[0], words[1:], env=self.env(), cwd=str(self.home), encoding="utf-8", timeout=30, use_poll=True, **kw)

    def code(self):
        """A code that was not used yet: steps only go forward, from the one before now (unless it is about to leave the
        window) to the one after it. So two or three codes can be had at once; then it waits."""
        step = max(int(time.time() - 18) // 30, self.used_step + 1)
        while step > int(time.time()) // 30 + 1:
            time.sleep(0.5)
        self.used_step = step
        return totp(self.secret, step * 30)

    def accept(self, url):
        """The invitation link, through the page's own form (no browser)."""
        path = "/" + url.split("/", 3)[3]
        page = self.cluster.https("GET", path, host=self.host)
        assert page.status == 200, page.text
        self.secret = re.sub(r"[^A-Z2-7]", "", re.search(r'class="secret"[^>]*>([^<]+)<', page.text).group(1))
        cookie = page.headers["Set-Cookie"].split(";")[0]
        csrf = hidden(page, "csrf_token")
        page = self.send_form(path, cookie, {"csrf_token": csrf, "code": self.code()})
        if page.status != 200:
            return page
        return self.send_form(path + "/password", cookie, {"csrf_token": csrf, "proof": hidden(page, "proof"),
                                                           "password": self.password, "repeat": self.password})

    def send_form(self, path, cookie, fields, **headers):
        return self.cluster.https("POST", path, body=urllib.parse.urlencode(fields), host=self.host,
                                  headers={"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie,
                                           "Origin": f"https://{self.cluster.proxy}", **headers})

    def login(self, *flags, password=None, code=None):
        child = self.spawn(BIN / "tport", "login", f"--proxy={self.cluster.proxy}", f"--user={self.name}", *flags)
        child.expect("[Pp]assword[^\r\n]*:")
        child.sendline(password or self.password)
        child.expect("code[^\r\n]*:")
        child.sendline(code or self.code())
        child.expect(pexpect.EOF)
        child.close()
        return child.exitstatus, child.before


def hidden(page, name):
    return re.search(rf'name="{name}"[^>]*value="([^"]+)"', page.text).group(1)


class Reply:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()
        self.text = self.body.decode(errors="replace")

    def json(self):
        return json.loads(self.body)


class Cluster:
    """Proxy and auth in the host "proxy", people in "client", nodes where they are asked for."""

    def __init__(self, name="test", workers=2, proxy_extra="", auth_extra="", nodes=(), net=None, extra=""):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tport-"))
        os.chmod(self.folder, 0o755)
        self.name = name
        self.net = net or Net(f"tp{os.getpid() % 10000}{id(self) % 1000}")
        self.port = 3443 if self.net.real else self._free_port()
        self.proxy = f"{self.net.host('proxy')}:{self.port}"
        self.nodes = {}
        self.people = {}
        self.workers, self.proxy_extra, self.auth_extra, self.extra = workers, proxy_extra, auth_extra, extra
        self.daemon = Daemon(self.net, "proxy", self.folder / "proxy", self.conf())
        try:
            self.start()
            for node in nodes:
                self.add_node(node)
        except BaseException:
            print(self.daemon.text()[-4000:])
            self.close()
            raise

    @staticmethod
    def _free_port():
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]

    def conf(self):
        return f"""
version: v3
tport:
  nodename: proxy
  data_dir: {self.folder}/proxy/data
  processes:
    workers: {self.workers}
{self.extra}
auth_service:
  enabled: yes
  cluster_name: {self.name}
{self.auth_extra}
proxy_service:
  enabled: yes
  web_listen_addr: {self.proxy}
  public_addr: {self.proxy}
{self.proxy_extra}
ssh_service:
  enabled: no
"""

    def start(self):
        self.daemon.start()
        wait_for(lambda: self.https("GET", "/webapi/ping").status == 200, timeout=40)

    @contextlib.contextmanager
    def connection(self, **context_args):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        for key, value in context_args.items():
            getattr(context, key)(*value)
        host, port = self.proxy.split(":")
        with in_host(self.net, "client"):
            raw = socket.create_connection((host, int(port)), timeout=20)
        with context.wrap_socket(raw) as tls:
            yield tls

    def https(self, method, path, body=None, headers=None, host="client"):
        address, port = self.proxy.split(":")
        with in_host(self.net, host):
            raw = socket.create_connection((address, int(port)), timeout=20)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPConnection(address, int(port))
        connection.sock = context.wrap_socket(raw)
        try:
            connection.request(method, path, body=body, headers={"Host": self.proxy, **(headers or {})})
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def ctl(self, *words, input=None, check=True, env=None):
        result = subprocess.run([str(BIN / "tportctl"), *map(str, words)], capture_output=True, text=True, input=input, timeout=60,
                                env={**os.environ, **sanitizers("tportctl", words), "TPORT_ADMIN_SOCKET": str(self.daemon.data / "admin.sock"), **(env or {})},
                                check=False)
        if check and result.returncode != 0:
            raise AssertionError(f"tportctl {words} -> {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def ca(self):
        return self.ctl("auth", "export", "--type=tls-host").stdout

    def pin(self):
        return re.search(r"sha256:[0-9a-f]{64}", self.ctl("status").stdout).group(0)

    def person(self, name, roles="access,editor,auditor", logins="root", enrol=True, sign_in=True):
        words = ["users", "add", name, f"--roles={roles}"] + ([f"--logins={logins}"] if logins else [])
        out = self.ctl(*words).stdout
        url = re.search(r"https://\S+/web/invite/[0-9a-f]{32}", out).group(0)
        person = Person(self, name)
        person.url = url
        self.people[name] = person
        if enrol:
            reply = person.accept(url)
            assert reply.status == 200, reply.text
        if enrol and sign_in:
            status, output = person.login()
            assert status == 0, output
        return person

    def token(self, ttl="1h"):
        return json.loads(self.ctl("nodes", "add", "--roles=node", f"--ttl={ttl}", "--format=json").stdout)[0]

    def add_node(self, name, labels="env=dev", extra="", change=None):
        """As the walkthrough does: a token, tportd node configure, tportd -c."""
        folder = self.folder / name
        folder.mkdir()
        os.chmod(folder, 0o755)
        conf = folder / "tport.conf"
        made = subprocess.run(self.net.prefix(name) + [
            str(BIN / "tportd"), "node", "configure", f"--proxy={self.proxy}", f"--token={self.token()}",
            f"--ca-pin={self.pin()}", f"--node-name={name}", f"--labels={labels}", f"--data-dir={folder}/data", "-o", str(conf)],
            capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stdout + made.stderr
        text = conf.read_text() + extra
        daemon = Daemon(self.net, name, folder, change(text) if change else text)
        self.nodes[name] = daemon
        daemon.start()
        self.wait_online(name)
        return daemon

    def node_list(self):
        return json.loads(self.ctl("nodes", "ls", "--format=json").stdout)

    def wait_online(self, name, online=True, timeout=30):
        wait_for(lambda: any(n["spec"]["hostname"] == name and n.get("online", False) == online for n in self.node_list()), timeout)

    def audit(self, **filters):
        words = [f"--{key}={value}" for key, value in filters.items()]
        out = self.ctl("audit", "ls", "--format=json", *words).stdout.strip()
        events = json.loads(out) if out.startswith("[") else [json.loads(line) for line in out.split("\n") if line]
        return events

    def close(self):
        for daemon in [*self.nodes.values(), self.daemon]:
            daemon.stop()
        self.net.close()
        if not os.environ.get("TPORT_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def in_host(net, name):
    """Sockets made inside belong to that host."""
    if not net.real:
        yield
        return
    net.host(name)
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/var/run/netns/{net.names[name][0]}", os.O_RDONLY)
    try:
        _setns(there)
        yield
    finally:
        _setns(here)
        os.close(here)
        os.close(there)


def _setns(fd):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")
