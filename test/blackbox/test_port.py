"""The port behind a balancer, and certificates from files."""

import ssl
import subprocess
import socket
import time

import pytest

from tport import in_host, wait_for


def test_proxy_header_from_a_trusted_range(fresh):
    cluster = fresh(proxy_extra="  proxy_protocol: on\n  proxy_protocol_trusted: [10.77.0.9/32]\n")
    if not cluster.net.real:
        pytest.skip("needs network namespaces (root)")
    while cluster.net.host(f"filler{len(cluster.net.names)}") != "10.77.0.9":
        pass
    balancer = next(n for n, v in cluster.net.names.items() if v[1] == "10.77.0.9")
    host, port = cluster.proxy.split(":")

    def ask(first):
        with in_host(cluster.net, balancer):
            raw = socket.create_connection((host, int(port)), timeout=20)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        raw.sendall(first)
        with context.wrap_socket(raw) as tls:
            tls.sendall(f"GET /webapi/ping HTTP/1.1\r\nHost: {cluster.proxy}\r\nConnection: close\r\n\r\n".encode())
            return tls.recv(12)

    assert ask(b"PROXY TCP4 192.0.2.77 10.0.0.1 5000 443\r\n") == b"HTTP/1.1 200"
    assert ask(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x4e\x0a\x00\x00\x01\x13\x88\x01\xbb") == b"HTTP/1.1 200"
    wait_for(lambda: "peer=192.0.2.77:5000" in cluster.daemon.text() and "peer=192.0.2.78:5000" in cluster.daemon.text())
    # Required where it is trusted, refused where it is not.
    with pytest.raises((ssl.SSLError, OSError)):
        ask(b"")
    wait_for(lambda: "reason=proxy_header" in cluster.daemon.text())


def make_cert(folder, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                    f"/CN={name}", "-keyout", str(folder / "new.key"), "-out", str(folder / "new.crt")], check=True, capture_output=True)
    (folder / "new.key").rename(folder / "web.key")
    (folder / "new.crt").rename(folder / "web.crt")


def test_certificate_files_are_reloaded_when_they_change(fresh, tmp_path):
    make_cert(tmp_path, "first")
    cluster = fresh(proxy_extra=f"  https_keypairs:\n  - key_file: {tmp_path}/web.key\n    cert_file: {tmp_path}/web.crt\n")

    def served():
        with cluster.connection() as tls:
            return tls.getpeercert(binary_form=True)

    assert b"first" in served()
    make_cert(tmp_path, "second")
    wait_for(lambda: b"second" in served(), 30, 0.5)
    # A broken file changes nothing.
    (tmp_path / "web.crt").write_text("broken")
    wait_for(lambda: "reload refused" in cluster.daemon.text(), 30, 0.5)
    assert b"second" in served()


def test_a_pin_is_good_whatever_browsers_are_shown(fresh, tmp_path):
    """The pin is of the host CA: with a certificate from files, a host that is told both must join all the same."""
    make_cert(tmp_path, "public")
    cluster = fresh(proxy_extra=f"  https_keypairs:\n  - key_file: {tmp_path}/web.key\n    cert_file: {tmp_path}/web.crt\n")
    cluster.add_node("pinned")
    # And a wrong one is refused.
    cluster.pin = lambda: "sha256:" + "0" * 64
    cluster.wait_online = lambda name: wait_for(lambda: "not signed by the CA that the pin names" in cluster.nodes[name].text())
    cluster.add_node("mispinned")
    assert not [node for node in cluster.node_list() if node["spec"]["hostname"] == "mispinned"]
