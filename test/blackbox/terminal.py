"""A browser, as far as its terminal goes: signs in, opens WebSockets (RFC 6455), speaks the messages of the web terminal."""

import base64
import hashlib
import json
import os
import select
import socket
import ssl
import struct
import time
import urllib.parse

from tport import in_host

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def varint(value):
    out = b""
    while value > 0x7f:
        out += bytes([value & 0x7f | 0x80])
        value >>= 7
    return out + bytes([value])


def envelope(kind, payload=b""):
    return b"\x0a\x011" + b"\x12\x01" + kind.encode() + b"\x1a" + varint(len(payload)) + payload


def open_envelope(data):
    fields, at = {}, 0
    while at < len(data):
        key, at = data[at], at + 1
        length = shift = 0
        while True:
            byte, at = data[at], at + 1
            length |= (byte & 0x7f) << shift
            shift += 7
            if not byte & 0x80:
                break
        fields[key >> 3] = data[at:at + length]
        at += length
    assert fields[1] == b"1"
    return fields[2].decode(), fields.get(3, b"")


class Refused(Exception):
    def __init__(self, status, text):
        super().__init__(f"{status} {text}")
        self.status = status


class Browser:
    """One person's web session."""

    def __init__(self, person):
        self.person, self.cluster = person, person.cluster
        self.address, self.port = self.cluster.proxy.split(":")
        self.cookie = self.token = None

    def connect(self):
        with in_host(self.cluster.net, self.person.host):
            raw = socket.create_connection((self.address, int(self.port)), timeout=20)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(raw)

    def headers(self):
        return {"Cookie": self.cookie, "Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}

    def ask(self, method, path, body=None, headers=None):
        return self.cluster.https(method, path, body=json.dumps(body) if body is not None else None, host=self.person.host,
                                  headers={**self.headers(), **(headers or {})})

    def sign_in(self):
        reply = self.cluster.https("POST", "/webapi/sessions/web", host=self.person.host, headers={"Content-Type": "application/json"}, body=json.dumps(
            {"user": self.person.name, "pass": self.person.password, "second_factor_token": self.person.code()}))
        assert reply.status == 200, reply.text
        self.cookie, self.token = reply.headers["Set-Cookie"].split(";")[0], reply.json()["token"]
        return self

    def socket(self, path, headers=None, drop=()):
        """The handshake; Refused when the answer is not 101. headers replace, drop leaves out."""
        sock = self.connect()
        key = base64.b64encode(os.urandom(16)).decode()
        lines = {"Host": self.cluster.proxy, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                 "Sec-WebSocket-Key": key, "Origin": f"https://{self.cluster.proxy}", "Cookie": self.cookie, **(headers or {})}
        text = f"GET {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items() if k not in drop) + "\r\n"
        sock.sendall(text.encode())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = sock.recv(4096)
            if not piece:
                raise Refused(0, "closed")
            head += piece
        head, rest = head.split(b"\r\n\r\n", 1)
        status = int(head.split()[1])
        if status != 101:
            raise Refused(status, rest)
        accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest())
        assert b"Sec-WebSocket-Accept: " + accept in head, head
        return WebSocket(sock, rest)

    def terminal(self, params, token=None, **kw):
        query = urllib.parse.quote(json.dumps(params))
        ws = self.socket(f"/v1/webapi/sites/{self.cluster.name}/connect?params={query}", **kw)
        ws.send(TEXT, json.dumps({"token": self.token if token is None else token}).encode())
        return Terminal(ws, params.get("offset", 0))

    def shell(self, node="node1", login="root", **more):
        return self.terminal({"server_id": node, "login": login, "term": {"w": 100, "h": 30}, **more}).opened()


class WebSocket:
    def __init__(self, sock, rest=b""):
        self.sock, self.data = sock, rest

    def send(self, opcode, payload, fin=True, mask=True, first=None):
        head = bytes([(0x80 if fin else 0) | opcode]) if first is None else bytes([first])
        flag = 0x80 if mask else 0
        size = len(payload)
        head += bytes([flag | size]) if size < 126 else bytes([flag | 126]) + struct.pack(">H", size) if size < 65536 else bytes([flag | 127]) + struct.pack(">Q", size)
        if mask:
            key = os.urandom(4)
            head += key
            long = (key * (size // 4 + 1))[:size]
            payload = (int.from_bytes(payload, "big") ^ int.from_bytes(long, "big")).to_bytes(size, "big")
        self.sock.sendall(head + payload)

    def _fill(self, size, until):
        while len(self.data) < size:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if not self.sock.pending() and not select.select([self.sock], [], [], left)[0]:
                raise TimeoutError
            piece = self.sock.recv(65536)
            if not piece:
                raise EOFError
            self.data += piece

    def receive(self, timeout=20):
        """(opcode, payload); pings are answered."""
        until = time.monotonic() + timeout
        while True:
            self._fill(2, until)
            assert self.data[0] & 0x80 and not self.data[1] & 0x80  # whole and unmasked
            size, at = self.data[1] & 0x7f, 2
            if size == 126:
                self._fill(4, until)
                size, at = struct.unpack(">H", self.data[2:4])[0], 4
            elif size == 127:
                self._fill(10, until)
                size, at = struct.unpack(">Q", self.data[2:10])[0], 10
            self._fill(at + size, until)
            opcode, payload, self.data = self.data[0] & 0x0f, self.data[at:at + size], self.data[at + size:]
            if opcode == PING:
                self.send(PONG, payload)
            else:
                return opcode, payload

    def close(self):
        self.sock.close()


class Terminal:
    """seen: every message but output; output: bytes since the last look; offset: bytes of output since the session began."""

    def __init__(self, ws, offset=0, acks=True):
        self.ws, self.offset, self.acks = ws, offset, acks
        self.output, self.seen, self.code = b"", [], None
        self.session = None
        self.acked = offset

    def step(self, timeout=20):
        opcode, payload = self.ws.receive(timeout)
        if opcode == CLOSE:
            self.code = struct.unpack(">H", payload[:2])[0]
            return "close", payload
        kind, body = open_envelope(payload)
        if kind == "r":
            self.output += body
            self.offset += len(body)
            if self.acks and self.offset - self.acked >= 16384:
                self.ack()
        else:
            body = json.loads(body) if body else None
            self.seen.append((kind, body))
            if kind == "s":
                self.session = body["session"]
        return kind, body

    def ack(self):
        self.acked = self.offset
        self.send("k", str(self.offset).encode())

    def opened(self):
        kind, body = self.step()
        assert kind == "s", (kind, body)
        return self

    def send(self, kind, payload=b""):
        self.ws.send(BINARY, envelope(kind, payload if isinstance(payload, bytes) else json.dumps(payload).encode()))

    def type(self, text):
        self.send("r", text.encode())

    def until(self, text, timeout=20):
        """Output up to and with text."""
        text = text.encode()
        end = time.monotonic() + timeout
        while text not in self.output:
            kind, body = self.step(max(0.01, end - time.monotonic()))
            assert kind in "rs", (kind, body, self.output[-400:])
        seen, self.output = self.output.split(text, 1)
        return (seen + text).decode(errors="replace")

    def last(self, timeout=20):
        """To the end: {kind: body} of what was said, and the close code."""
        end = time.monotonic() + timeout
        try:
            while self.step(max(0.01, end - time.monotonic()))[0] != "close":
                pass
        except EOFError:
            pass
        return dict(self.seen)

    def lose(self):
        """The network is gone: no word, no end of TLS."""
        self.ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw = self.ws.sock.detach()
        os.close(raw)
