# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How the scenarios start weir: one place that knows its options."""

import hashlib
import json
import os
import sqlite3
import sys

from lab import BENCH, BUILD, COLLECTOR, PORT, PROBE, check, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
STARTED_S = 120  # a program may take so long to start on a busy machine


Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def z85_encode(data):
    text = ""
    for i in range(0, len(data), 4):
        value = int.from_bytes(data[i : i + 4], "big")
        text += "".join(Z85[value // 85**n % 85] for n in (4, 3, 2, 1, 0))
    return text


def z85_decode(text):
    data = b""
    for i in range(0, len(text), 5):
        value = 0
        for char in text[i : i + 5]:
            value = value * 85 + Z85.index(char)
        data += value.to_bytes(4, "big")
    return data


class Weir:
    """A collector on host c, a probe on host a, traffic from a to b."""

    def __init__(self, lab, db_dir=None, spool_dir=None, build=BUILD):
        self.lab, self.build = lab, build
        self.db = f"{db_dir or lab.work}/weir.db"
        self.spool = f"{spool_dir or lab.work}/spool.db"
        self.url = f"tcp://10.92.0.2:{PORT}"
        self.state = f"{lab.work}/state"
        self.pins = f"{lab.bpffs()}/weir"
        self.runs = 0
        lab.run(COLLECTOR, "init", "--db", self.db)

    # --- who may come in -------------------------------------------------------------

    def server_key(self):
        with sqlite3.connect(self.db) as db:
            return z85_encode(db.execute("SELECT public_key FROM collector").fetchone()[0])

    def admit_probe(self):
        """The probe's key, admitted without the network: nothing is served yet."""
        join = self.lab.run(
            *(COLLECTOR, "enroll", "token", "create", "--db", self.db, "-q", "--uses", "1"),
            *("--address", "10.92.0.2", "--port", str(PORT), "--enroll-port", str(PORT + 1)),
        ).stdout.strip()
        line = self.lab.run(
            PROBE, "enroll", "--offline", "--state-dir", self.state, "--name", "a", join
        ).stdout
        self.lab.run(COLLECTOR, "enroll", "add", "--db", self.db, *line.split())

    def make_keys(self, n, name="sim"):
        """A file with the keys of n simulated probes, sim0000 and so on, who are let in."""
        self.runs += 1
        path = f"{self.lab.work}/keys-{self.runs}"
        with open(path, "w", encoding="ascii") as f:
            f.write(self.lab.run(BENCH, "--make-keys", str(n)).stdout)
        self._admit(path, name)
        return path

    def _admit(self, path, name):
        """Straight into the database, as `enroll add` would, before it is served."""
        with open(path, encoding="ascii") as f, sqlite3.connect(self.db) as db:
            for number, line in enumerate(f):
                key = z85_decode(line.split()[0])
                db.execute(
                    "INSERT INTO host_key (public_key, probe_id, state, name, address,"
                    " fingerprint, asked_ms) VALUES (?, ?, 'admitted', ?, '', ?, 0)",
                    (
                        key,
                        hashlib.blake2b(key, digest_size=16).digest(),
                        f"{name}{number:04}",
                        f"{name}{number:04}",
                    ),
                )

    # --- the programs ----------------------------------------------------------------

    def start_collector(self, *options, env=None, limit=None):
        self.runs += 1
        return self.lab.start(
            f"collector-{self.runs}",
            *(f"{self.build}/weir-collector", "serve", "--db", self.db, "--listen", self.url),
            *("--detect-interval", "3600s", *options),
            host="c",
            env=env,
            limit=limit,
        )

    def start_probe(self, *options, env=None):
        self.runs += 1
        return self.lab.start(
            f"probe-{self.runs}",
            *(f"{self.build}/weir-probe", "run", "--iface", "eth0", "--state-dir", self.state, "--name", "a"),
            *("--active-timeout", "1s", "--idle-timeout", "1s", "--drain-interval", "200ms"),
            *("--spool", self.spool, "--pin", self.pins, *options),
            host="a",
            env=env,
        )

    def collector_ready(self, program, every=0.1):
        wait_until("the collector listens", STARTED_S, lambda: program.says("listening on"), every)
        return program

    def probe_ready(self, program):
        wait_until("the probe is connected", STARTED_S, lambda: program.says("connected"))
        return program

    # --- traffic ---------------------------------------------------------------------

    def start_sink(self):
        sink = self.lab.start(
            "sink", sys.executable, f"{HERE}/traffic.py", "sink", "10.91.0.2", "9", host="b"
        )
        wait_until("the sink is there", STARTED_S, lambda: sink.says("ready"))

    def start_traffic(self, rate, flows, seconds=3600):
        self.runs += 1
        return self.lab.start(
            f"traffic-{self.runs}",
            *(sys.executable, f"{HERE}/traffic.py", "send", "10.91.0.2", "9"),
            *(str(rate), str(flows), str(seconds)),
            host="a",
        )

    @staticmethod
    def end_traffic(traffic):
        """How many packets left each port."""
        check(traffic.stop() == 0, f"the traffic has failed: {traffic.output()}")
        sent = json.loads(traffic.output())
        return {int(port): n for port, n in sent["by_port"].items()}

    # --- the simulated fleet -----------------------------------------------------------

    def bench(self, *options, keys=None, name="bench", curve=True):
        """Simulated probes on the collector's host; without keys, of nobody who is known."""
        self.runs += 1
        out = f"{self.lab.work}/{name}-{self.runs}.json"
        known = ("--keys", keys) if keys else ()
        if curve:
            known += ("--server-key", self.server_key())
        program = self.lab.start(
            f"{name}-{self.runs}",
            *(BENCH, "--connect", self.url, "--out", out),
            *(*known, *options),
            host="c",
        )
        program.out = out
        return program

    @staticmethod
    def acked(program):
        """Batches acknowledged so far, of a bench with --live."""
        lines = [line for line in program.output().splitlines() if line.startswith("acked ")]
        return int(lines[-1].split()[1]) if lines else 0

    @staticmethod
    def bench_result(program, seconds=300):
        check(program.popen.wait(seconds) == 0, f"weir-bench has failed: {program.output()}")
        with open(program.out, encoding="utf-8") as f:
            return json.load(f)
