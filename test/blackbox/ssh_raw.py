"""A small SSH client that can send any message at any time: curve25519-sha256, aes128-ctr, hmac-sha2-256."""
import base64
import functools
import hashlib
import hmac
import os
import socket
import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def text(data):
    data = data.encode() if isinstance(data, str) else data
    return struct.pack(">I", len(data)) + data


def number(value):
    return struct.pack(">I", value)


def mpint(data):
    data = data.lstrip(b"\0")
    return text((b"\0" if data and data[0] & 0x80 else b"") + data)


class Closed(Exception):
    pass


def orderly(step):
    """A step that an honest client does: the server may take its time for it, whatever the test's own patience is."""
    @functools.wraps(step)
    def patient(self, *args, **kw):
        patience = self.sock.gettimeout()
        self.sock.settimeout(60)
        try:
            return step(self, *args, **kw)
        finally:
            self.sock.settimeout(patience)
    return patient


class Raw:
    def __init__(self, sock, timeout=10):
        self.sock = sock
        self.sock.settimeout(timeout)
        self.buffer = b""
        self.out_seq = self.in_seq = 0
        self.enc = self.dec = None
        self.version = b"SSH-2.0-raw"
        self.session_id = None

    # ---- bytes and packets ----

    def raw(self, data):
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Closed from error

    def need(self, size):
        while len(self.buffer) < size:
            try:
                piece = self.sock.recv(65536)
            except (ConnectionError, socket.timeout) as error:
                raise Closed from error
            if not piece:
                raise Closed
            self.buffer += piece
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def send(self, payload):
        block = 16 if self.enc else 8
        pad = block - (5 + len(payload)) % block
        pad += block if pad < 4 else 0
        packet = struct.pack(">IB", len(payload) + pad + 1, pad) + payload + os.urandom(pad)
        if self.enc:
            tag = hmac.new(self.mac_out, number(self.out_seq) + packet, hashlib.sha256).digest()
            packet = self.enc.update(packet) + tag
        self.out_seq = (self.out_seq + 1) & 0xffffffff
        self.raw(packet)

    def read(self):
        first = self.need(16 if self.dec else 8)
        first = self.dec.update(first) if self.dec else first
        size = struct.unpack(">I", first[:4])[0]
        rest = self.need(size + 4 - len(first))
        rest = self.dec.update(rest) if self.dec else rest
        if self.dec:
            self.need(32)
        packet = first + rest
        self.in_seq += 1
        return packet[5:len(packet) - packet[4]]

    def expect(self, *kinds):
        while True:
            payload = self.read()
            if payload[0] in kinds:
                return payload
            if payload[0] == 1:
                raise Closed

    # ---- the orderly way in ----

    @orderly
    def hello(self):
        self.raw(self.version + b"\r\n")
        line = b""
        while not line.endswith(b"\n"):
            line += self.need(1)
        self.server_version = line.strip()

    def kexinit(self):
        lists = ["curve25519-sha256", "ssh-ed25519-cert-v01@openssh.com", "aes128-ctr", "aes128-ctr", "hmac-sha2-256",
                 "hmac-sha2-256", "none", "none", "", ""]
        return b"\x14" + os.urandom(16) + b"".join(text(item) for item in lists) + b"\0" + number(0)

    @orderly
    def exchange(self):
        mine = self.kexinit()
        self.send(mine)
        theirs = self.expect(20)
        key = X25519PrivateKey.generate()
        public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.send(b"\x1e" + text(public))
        reply = self.expect(31)[1:]
        parts = []
        for _ in range(3):
            size = struct.unpack(">I", reply[:4])[0]
            parts.append(reply[4:4 + size])
            reply = reply[4 + size:]
        host, their_public, _ = parts
        shared = mpint(key.exchange(X25519PublicKey.from_public_bytes(their_public)))
        digest = hashlib.sha256(text(self.version) + text(self.server_version) + text(mine) + text(theirs) + text(host) +
                                text(public) + text(their_public) + shared).digest()
        self.session_id = self.session_id or digest

        def derive(letter, size):
            return hashlib.sha256(shared + digest + letter + self.session_id).digest()[:size]

        self.send(b"\x15")
        self.expect(21)
        self.enc = Cipher(algorithms.AES(derive(b"C", 16)), modes.CTR(derive(b"A", 16))).encryptor()
        self.dec = Cipher(algorithms.AES(derive(b"D", 16)), modes.CTR(derive(b"B", 16))).decryptor()
        self.mac_out = derive(b"E", 32)

    @orderly
    def service(self):
        self.send(b"\x05" + text("ssh-userauth"))
        self.expect(6)

    def auth_request(self, keys, login=None, sign=True):
        name = "ssh-ed25519-cert-v01@openssh.com"
        blob = base64.b64decode(keys.blob("user-cert.pub"))
        request = (b"\x32" + text(keys.login if login is None else login) + text("ssh-connection") + text("publickey") +
                   (b"\1" if sign else b"\0") + text(name) + text(blob))
        if not sign:
            return request
        private = serialization.load_ssh_private_key(open(keys.path("user"), "rb").read(), None)
        return request + text(text("ssh-ed25519") + text(private.sign(text(self.session_id) + request)))

    @orderly
    def sign_in(self, keys):
        self.hello()
        self.exchange()
        self.service()
        self.send(self.auth_request(keys))
        self.expect(52)

    # ---- channels ----

    def open(self, local=0, window=1 << 20, packet=32768):
        self.send(b"\x5a" + text("session") + number(local) + number(window) + number(packet))

    def opened(self):
        payload = self.expect(91, 92)
        return struct.unpack(">I", payload[5:9])[0] if payload[0] == 91 else None

    @staticmethod
    def request(channel, name, data=b"", reply=True):
        return b"\x62" + number(channel) + text(name) + (b"\1" if reply else b"\0") + data
