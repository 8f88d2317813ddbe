# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How the scenarios start weir: one place that knows its options."""

import json
import os
import sys

from lab import BENCH, COLLECTOR, PORT, PROBE, check, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
STARTED_S = 120  # a program may take so long to start on a busy machine


class Weir:
    """A collector on host c, a probe on host a, traffic from a to b."""

    def __init__(self, lab, db_dir=None, spool_dir=None):
        self.lab = lab
        self.db = f"{db_dir or lab.work}/weir.db"
        self.spool = f"{spool_dir or lab.work}/spool.db"
        self.url = f"tcp://10.92.0.2:{PORT}"
        self.runs = 0

    # --- the programs ----------------------------------------------------------------

    def start_collector(self, *options, env=None, limit=None):
        self.runs += 1
        return self.lab.start(
            f"collector-{self.runs}",
            *(COLLECTOR, "serve", "--db", self.db, "--listen", self.url),
            *("--detect-interval", "3600s", *options),
            host="c",
            env=env,
            limit=limit,
        )

    def start_probe(self, *options, env=None):
        self.runs += 1
        return self.lab.start(
            f"probe-{self.runs}",
            *(PROBE, "run", "--iface", "eth0", "--collector", self.url, "--name", "a"),
            *("--active-timeout", "1s", "--idle-timeout", "1s", "--drain-interval", "200ms"),
            *("--spool", self.spool, *options),
            host="a",
            env=env,
        )

    def collector_ready(self, program):
        wait_until("the collector listens", STARTED_S, lambda: program.says("listening on"))
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

    def bench(self, *options, host="c", name="bench"):
        self.runs += 1
        out = f"{self.lab.work}/{name}-{self.runs}.json"
        program = self.lab.start(
            f"{name}-{self.runs}", BENCH, "--connect", self.url, "--out", out, *options, host=host
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
