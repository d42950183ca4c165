"""Plays the agent's side of tport-session: speaks its rpc line, answers its questions, and lets stock OpenSSH in."""
import base64
import fcntl
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
import zlib

HEADER = struct.Struct(">IBBHI")
REQUEST, REPLY, ERROR, EVENT = 1, 2, 3, 4
BUILD = os.environ.get("TPORT_BUILD", os.path.join(os.path.dirname(__file__), "..", "..", "build"))
SESSION = os.path.join(BUILD, "bin", "tport-session")


class Rpc:
    """The frames of docs/protocol-rpc.md over a unix socket."""

    def __init__(self, sock, on_request):
        self.sock = sock
        self.on_request = on_request
        self.lock = threading.Lock()
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _send(self, kind, number, body):
        text = json.dumps(body).encode()
        with self.lock:
            try:
                self.sock.sendall(HEADER.pack(len(text), kind, 0, 0, number) + text)
            except OSError:
                self.closed.set()

    def event(self, name, params):
        self._send(EVENT, 0, {"event": name, "params": params})

    def _read(self, size):
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def _run(self):
        try:
            while True:
                size, kind, _, _, number = HEADER.unpack(self._read(HEADER.size))
                body = json.loads(self._read(size))
                if kind == REQUEST:
                    code, result = self.on_request(body["method"], body.get("params", {}))
                    if code is None:
                        self._send(REPLY, number, result)
                    else:
                        self._send(ERROR, number, {"code": code, "message": result})
        except (EOFError, OSError):
            self.closed.set()


class Keys:
    """One user CA and one host CA with a user and a host certificate, all by ssh-keygen."""

    def __init__(self, directory, login):
        self.dir = directory
        self.login = login
        for name in ("user_ca", "host_ca", "host", "user", "other_ca", "plain"):
            self.keygen("-t", "ed25519", "-N", "", "-q", "-f", self.path(name), "-C", name)
        self.keygen("-s", self.path("host_ca"), "-I", "node", "-h", "-n", "node1", "-V", "-5m:+1h", self.path("host.pub"))
        self.keygen("-s", self.path("user_ca"), "-I", "alice", "-n", login, "-V", "-5m:+1h", self.path("user.pub"))
        with open(self.path("known_hosts"), "w") as out:
            out.write("@cert-authority * " + open(self.path("host_ca.pub")).read())

    def path(self, name):
        return os.path.join(self.dir, name)

    def keygen(self, *args):
        subprocess.run(["ssh-keygen", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def blob(self, name):
        return open(self.path(name)).read().split()[1]


class Agent:
    """Listens on a unix socket; each connection gets its own tport-session."""

    def __init__(self, keys, tmp, **options):
        self.keys = keys
        self.tmp = tmp
        self.events = []
        self.requests = []
        self.recordings = {}
        self.ended = {}
        self.fail = {}            # method: (code, message)
        self.delay = {}           # method: seconds
        self.accepted = {keys.blob("user-cert.pub")}
        self.options = {"port_forwarding_local": True, "port_forwarding_remote": True, "x11": False, "file_copy": True, "record": "strict", "record_packed": True,
                        "idle_timeout": 0, "disconnect_expired_cert": False, "max_sessions": 0}
        self.options.update(options)
        self.config_extra = {}
        self.grant_extra = {}
        self.forward_agent = True
        self.env = {}
        self.lines = []
        self.processes = []
        self.log = open(os.path.join(tmp, "session.log"), "ab")
        self.count = 0
        self.path = os.path.join(tmp, "agent.sock")
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        self.server.listen(64)
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                conn, _ = self.server.accept()
                self.start(conn)
            except (OSError, ValueError):  # closed in the meantime
                return

    def start(self, conn):
        """One connection: a tport-session with the connection as its descriptor 4."""
        ours, theirs = socket.socketpair()
        self.count += 1
        sid = "00000000-0000-4000-8000-%012d" % self.count

        # exact numbers; no Python runs in the child, because this process has threads
        high = [fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, 100) for sock in (theirs, conn)]
        actions = [(os.POSIX_SPAWN_DUP2, self.log.fileno(), 2), (os.POSIX_SPAWN_DUP2, high[0], 3),
                   (os.POSIX_SPAWN_DUP2, high[1], 4)]
        pid = os.posix_spawn(SESSION, ["tport-session", "monitor"],
                             {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **self.env}, file_actions=actions)
        for fd in high:
            os.close(fd)
        theirs.close()
        conn.close()
        self.processes.append(pid)
        line = Rpc(ours, lambda method, params: self.answer(sid, method, params))
        self.lines.append(line)
        grant = {"v": 1, "sid": sid, "user": "alice", "roles": ["access"], "traits": {}, "cluster": "example",
                 "host_id": "11111111-1111-4111-8111-111111111111", "service": "ssh",
                 "logins": [{"name": self.keys.login, "forward_agent": self.forward_agent},
                            {"name": "nosuchlogin", "forward_agent": False}],
                 "options": self.options, "client_addr": "192.0.2.7:4321", "issued": "2026-01-01T00:00:00Z",
                 "expires": "2036-01-01T00:00:00Z", "cert_not_after": "2036-01-01T00:00:00Z"}
        grant.update(self.grant_extra)
        config = {"grant": grant, "host_key": open(self.keys.path("host")).read(),
                  "host_cert": open(self.keys.path("host-cert.pub")).read().strip(), "cluster": "example",
                  "host_id": grant["host_id"], "hostname": "node1", "session_user": "nobody",
                  "proxy_addr": "proxy.example:443", "port_forwarding": True, "permit_user_env": False,
                  "pam": {"enabled": False, "service": "sshd"}}
        config.update(self.config_extra)
        line.event("config", config)
        return sid

    def answer(self, sid, method, params):
        self.requests.append((method, params))
        if method in self.delay:
            time.sleep(self.delay[method])
        if method in self.fail:
            return self.fail[method]
        if method == "session.check_cert":
            good = params["cert"] in self.accepted and params["login"] in (self.keys.login, "nosuchlogin")
            return (None, {}) if good else ("access_denied", "not this one")
        if method == "session.start":
            number = sum(1 for m, p in self.requests if m == "session.start" and p["sid"] == sid)
            return None, {"id": sid if number == 1 else "%s-%d" % (sid, number)}
        if method == "recording.append":
            data = self.recordings.get(params["id"], b"")
            if params["offset"] != len(data):
                return "compare_failed", "wrong offset"
            piece = base64.b64decode(params["data"].removeprefix("zlib:"))
            self.recordings[params["id"]] = data + (zlib.decompress(piece) if params["data"].startswith("zlib:") else piece)
            return None, {"size": len(self.recordings[params["id"]])}
        if method == "session.event":
            self.events.append((params["event"], params["fields"]))
            return None, {}
        if method == "session.end":
            self.ended[params["id"]] = params
            return None, {}
        return "not_found", method

    def wait(self, check, timeout=5):
        end = time.time() + timeout
        while time.time() < end:
            value = check()
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError("did not happen in time")

    def reap(self, timeout=5):
        """Every tport-session ends by itself; its exit codes."""
        codes = []
        end = time.time() + timeout
        for pid in self.processes:
            while True:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    codes.append(os.waitstatus_to_exitcode(status))
                    break
                if time.time() > end:
                    raise AssertionError("tport-session %d still runs" % pid)
                time.sleep(0.02)
        self.processes = []
        return codes

    def close(self):
        # Woken before the number of the descriptor belongs to the next one's socket, whose connection it would take.
        self.server.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        self.server.close()
        for line in self.lines:
            try:
                line.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            line.thread.join(2)
            line.sock.close()
        self.log.close()

    def session_log(self):
        return open(self.log.name).read()

    # ---- clients ----

    def ssh_options(self, **extra):
        options = {"ProxyCommand": "socat - UNIX-CONNECT:" + self.path, "UserKnownHostsFile": self.keys.path("known_hosts"),
                   "GlobalKnownHostsFile": "/dev/null", "StrictHostKeyChecking": "yes",
                   "HostKeyAlgorithms": "ssh-ed25519-cert-v01@openssh.com", "IdentitiesOnly": "yes",
                   "IdentityFile": self.keys.path("user"), "CertificateFile": self.keys.path("user-cert.pub"),
                   "PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no", "LogLevel": "ERROR",
                   "User": self.keys.login, "ControlMaster": "no"}
        options.update(extra)
        args = ["-F", "/dev/null"]
        for name, value in options.items():
            args += ["-o", "%s=%s" % (name, value)]
        return args

    def ssh(self, *args, flags=(), timeout=20, stdin=None, options=None, env=None):
        return subprocess.run(["ssh", *self.ssh_options(**(options or {})), *flags, "node1", *args],
                              input=stdin, stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True,
                              timeout=timeout, env=env)

    def connect(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.path)
        return sock


def read_until(fd, wanted, timeout=8):
    """Reads a terminal until wanted has been seen."""
    data = b""
    end = time.time() + timeout
    while wanted not in data:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(max(0, end - time.time()) * 1000):
            raise AssertionError("no %r in %r" % (wanted, data))
        try:
            piece = os.read(fd, 65536)
        except OSError:
            piece = b""
        if not piece:
            raise AssertionError("ended without %r: %r" % (wanted, data))
        data += piece
    return data


def have(program):
    return shutil.which(program) is not None
