"""Much at once through one agent: two gigabytes, a thousand watches, readers who take their time. What it costs is bounded."""

import contextlib
import json
import os
import resource
import time

import pytest

from kube_site import memory_of
from tport import BUILD

pytestmark = pytest.mark.skipif("asan" in str(BUILD), reason="sanitized programs hold more memory")
WATCHES = 1000


def test_bulk_passes_in_bounded_memory(site, member):
    """Down as kubectl cp does it, to a reader who takes his time at first: nothing piles up in between."""
    agent, workers = site.agent.children("agent"), site.cluster.daemon.children("worker")
    before = memory_of(agent), memory_of(workers)
    size, peak = 300 << 20, (0, 0)
    with site.running(member, "exec", "shell", "--", "dd", "if=/dev/zero", "bs=1M", "count=300") as process:
        time.sleep(2)
        got = 0
        while got < size:
            chunk = os.read(process.stdout.fileno(), 1 << 20)
            if not chunk:
                break
            if got >> 23 != (got + len(chunk)) >> 23:
                peak = max(peak[0], memory_of(agent)), max(peak[1], memory_of(workers))
            got += len(chunk)
    assert got >= size
    assert peak[0] - before[0] < 16 and peak[1] - before[1] < 16, (before, peak)


def peak_while(process, groups):
    """The most that each group of processes held until the process ended."""
    peak = [0.0] * len(groups)
    while process.poll() is None:
        peak = [max(most, memory_of(pids)) for most, pids in zip(peak, groups)]
        time.sleep(0.1)
    return peak


def test_kubectl_cp_of_2_gb(site, member, tmp_path):
    """A file of two gigabytes (with a hole, so that it costs no disk in the pod) comes out whole."""
    size = 2 << 30
    site.kubectl(member, "exec", "shell", "--", "dd", "if=/dev/zero", "of=/tmp/two-gb", "bs=1M", "seek=2047", "count=1", context="prod", check=True)
    groups = site.agent.children("agent"), site.cluster.daemon.children("worker")
    before = [memory_of(pids) for pids in groups]
    target = tmp_path / "two-gb"
    try:
        with site.running(member, "cp", "shell:/tmp/two-gb", str(target)) as process:
            peak = peak_while(process, groups)
            assert process.returncode == 0, process.stdout.read()
        assert target.stat().st_size == size
        assert all(most - least < 16 for most, least in zip(peak, before)), (before, peak)
    finally:
        target.unlink(missing_ok=True)
        site.kubectl(member, "exec", "shell", "--", "rm", "/tmp/two-gb", context="prod")


def test_uploads_pass_in_bounded_memory(site, member, tmp_path):
    """As kubectl cp sends a file: all of it arrives, and nothing piles up on the way."""
    size = 256 << 20
    file = tmp_path / "big"
    with open(file, "wb") as out:
        out.truncate(size)
    groups = site.agent.children("agent"), site.cluster.daemon.children("worker"), site.cluster.daemon.children("auth")
    before = [memory_of(pids) for pids in groups]
    with open(file, "rb") as source, site.running(member, "exec", "-i", "shell", "--", "wc", "-c", stdin=source) as process:
        peak = peak_while(process, groups)
        assert process.stdout.read().split()[-1] == str(size).encode()
    assert all(most - least < 16 for most, least in zip(peak, before)), (before, peak)


def test_a_slow_reader_loses_nothing(site, member):
    """The command has ended long ago, its output is on the way; whoever reads it late still gets all of it. Over SPDY: over
    WebSocket kubectl 1.32 and the front lose bytes of a late reader without tport between them, too."""
    size = 24 << 20
    with site.running(member, "exec", "shell", "--", "head", "-c", str(size), "/dev/zero") as process:
        time.sleep(9)
        got = 0
        while chunk := os.read(process.stdout.fileno(), 1 << 20):
            got += chunk.count(b"\0")
        assert got == size and process.wait(20) == 0


def read_some(tls, until):
    data = b""
    while until not in data:
        chunk = tls.recv(65536)
        assert chunk, data[-300:]
        data += chunk
    return data


def test_a_thousand_watches_in_64_mb(site, member):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    request = b"GET /api/v1/namespaces/kube-public/configmaps?watch=true HTTP/1.1\r\nHost: x\r\n\r\n"
    try:
        with contextlib.ExitStack() as stack:
            watches, context = [], site.tls_context(member)
            for _ in range(WATCHES):
                tls = stack.enter_context(site.tls(member, context=context))
                tls.settimeout(60)
                tls.sendall(request)
                watches.append(tls)
            heads = [read_some(tls, b"\r\n\r\n") for tls in watches]
            assert all(head.startswith(b"HTTP/1.1 200") for head in heads), [head for head in heads if not head.startswith(b"HTTP/1.1 200")][:3]
            site.prod.admin("create", "-f", "-", input=json.dumps(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen-by-all", "namespace": "kube-public"}}))
            for tls in watches:
                read_some(tls, b'"seen-by-all"')
            assert memory_of(site.agent.children("agent")) < 64
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
