# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the scenarios are made of: hosts as network namespaces, programs by their pid, waiting.

host a carries traffic to host b on eth0, where its probe looks; mgmt0 leads to host c, where the
collector listens. Nobody says anything on eth0 but the test: no neighbour is asked for, no IPv6.
"""

import ctypes
import os
import signal
import subprocess
import tempfile
import time

from janitor import Janitor

BUILD = os.path.abspath(os.environ.get("B", "build"))
PROBE = f"{BUILD}/weir-probe"
COLLECTOR = f"{BUILD}/weir-collector"
BENCH = f"{BUILD}/weir-bench"
BACKLOG_BENCH = f"{BUILD}/backlog-bench"
PORT = 7441
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """A scenario found something that does not hold."""


def check(condition, text):
    if not condition:
        raise Failed(text)


def wait_until(what, seconds, condition, every=0.1):
    """Polls; returns how long it took. Generous limits: machines are slow at times."""
    began = time.monotonic()
    while True:
        if condition():
            return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(every)


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Program:
    """One run of a program; its output goes to a file."""

    def __init__(self, lab, name, command, env=None, host=None, limit=None, stdout=None):
        self.lab, self.name, self.log = lab, name, f"{lab.work}/{name}.log"
        if limit:
            command = ["prlimit", f"--nofile={limit}:{limit}", "--", *command]
        if host:
            command = ["nsenter", f"--net={lab.netns(host)}", "--", *command]
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log if stdout is None else stdout,
                stderr=log,
                env={**os.environ, **(env or {})},
                preexec_fn=die_with_parent,
            )
        self.pid = self.popen.pid
        lab.janitor.note_pid(self.pid)

    def alive(self):
        return self.popen.poll() is None

    def kill(self):
        """kill -9. Returns whether it was alive until then."""
        if self.popen.poll() is None:
            self.popen.kill()
        return self.popen.wait(60) == -signal.SIGKILL

    def stop(self, seconds=120):
        """SIGTERM, and the exit status."""
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(60)
            raise Failed(f"{self.name} does not end within {seconds} s of SIGTERM") from None

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def says(self, text):
        return text in self.output()

    def cpu_s(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return 0


class Lab:
    def __init__(self, name, rng):
        self.janitor = Janitor()
        self.rng = rng
        self.work = tempfile.mkdtemp(prefix=f"weir-torture-{name}-")
        self.janitor.note("dir", self.work)
        self.prefix = f"wt{os.getpid()}-{name}"
        self.hosts = []
        self.counter = 0

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None and issubclass(kind, (Failed, subprocess.SubprocessError, OSError)):
            self.show_logs()
        self.janitor.finish()

    def show_logs(self):
        for name in sorted(os.listdir(self.work)):
            if name.endswith(".log"):
                with open(f"{self.work}/{name}", encoding="utf-8", errors="replace") as f:
                    for line in f.read().splitlines()[-15:]:
                        print(f"    {name}: {line}")

    # --- hosts ---------------------------------------------------------------------

    def netns(self, host):
        return f"/run/netns/{self.prefix}-{host}"

    def run(self, *command, host=None, ok=True, **more):
        if host:
            command = ("nsenter", f"--net={self.netns(host)}", "--", *command)
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=300, **more
        )
        if ok and done.returncode != 0:
            raise Failed(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
        return done

    def host(self, name):
        self.janitor.note("netns", f"{self.prefix}-{name}")
        self.run("ip", "netns", "add", f"{self.prefix}-{name}")
        for setting in ("all/disable_ipv6", "default/disable_ipv6"):
            self.run(
                "tee", f"/proc/sys/net/ipv6/conf/{setting}", host=name, input="1", ok=False
            )
        self.run("ip", "link", "set", "lo", "up", host=name)
        self.hosts.append(name)

    def cable(self, left, left_iface, right, right_iface, net):
        """net.1 is the left end, net.2 the right one; each knows the other's hardware address."""
        self.run(
            *f"ip link add {left_iface} type veth peer name {right_iface}"
            f" netns {self.prefix}-{right}".split(),
            host=left,
        )
        macs = {}
        for host, iface, end in ((left, left_iface, 1), (right, right_iface, 2)):
            self.run(*f"ip address add {net}.{end}/24 dev {iface}".split(), host=host)
            self.run(*f"ethtool -K {iface} tso off gso off gro off".split(), host=host, ok=False)
            self.run(*f"ip link set {iface} up".split(), host=host)
            macs[end] = (
                self.run(*f"ip -br link show dev {iface}".split(), host=host).stdout.split()[2]
            )
        for host, iface, other in ((left, left_iface, 2), (right, right_iface, 1)):
            self.run(
                *f"ip neigh replace {net}.{other} lladdr {macs[other]} dev {iface}"
                " nud permanent".split(),
                host=host,
            )

    def fleet_of_one(self):
        for name in "abc":
            self.host(name)
        self.cable("a", "eth0", "b", "eth0", "10.91.0")
        self.cable("a", "mgmt0", "c", "eth0", "10.92.0")

    def _iface_counters(self, host, iface):
        for line in self.run("cat", "/proc/net/dev", host=host).stdout.splitlines():
            name, _, numbers = line.partition(":")
            if name.strip() == iface:
                return [int(n) for n in numbers.split()]
        raise Failed(f"no {iface} on {host}")

    def iface_packets(self, host="a", iface="eth0"):
        """What came in and went out, as the kernel counts."""
        counters = self._iface_counters(host, iface)
        return counters[1] + counters[9]

    def iface_bytes(self, host="a", iface="eth0"):
        counters = self._iface_counters(host, iface)
        return counters[0] + counters[8]

    def small_disk(self, name, size):
        path = f"{self.work}/{name}"
        os.mkdir(path)
        self.janitor.note("mount", path)
        self.run("mount", "-t", "tmpfs", "-o", f"size={size}", "weir-torture", path)
        return path

    def bpffs(self):
        """A folder for pins, which are gone with it."""
        path = f"{self.work}/bpf"
        if not os.path.isdir(path):
            os.mkdir(path)
            self.janitor.note("mount", path)
            self.run("mount", "-t", "bpf", "weir-torture", path)
        return path

    # --- programs ------------------------------------------------------------------

    def start(self, name, *command, **more):
        return Program(self, name, list(command), **more)
