# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The programs end at every FAILPOINT() of the sources, the first time they pass it and later on.

Between the kernel's table and the acknowledgement no step may be left out or done twice.
"""

import glob
import os
import re
import signal
import time

import oracle
from lab import BUILD, Lab, check, wait_until
from weir import STARTED_S, Weir

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
SETTLE_S = 180
DIES_WITHIN_S = 180


def find_points(folder):
    names = set()
    for path in glob.glob(f"{SOURCES}/{folder}/**/*.c", recursive=True):
        with open(path, encoding="utf-8") as f:
            names |= set(re.findall(r'FAILPOINT\("(\w+)"\)', f.read()))
    check(names, f"there is no FAILPOINT() in {folder}/")
    return sorted(names)


def is_of_compaction(name):
    """Those take the flows of a fleet: see scenario_compaction.py."""
    return name.startswith(("segment_", "rollup_"))


class Side:
    """A program that runs without failing, or until it has come to a point."""

    def __init__(self, start, points):
        self.start, self.points = start, points
        self.program = self.start()

    def end_at(self, name, times):
        self.program.kill()
        self.program = self.start(env={"WEIR_FAILPOINT": f"{name}:{times}"})
        wait_until(
            f"{self.program.name} comes to {name} for the {times}. time",
            DIES_WITHIN_S,
            lambda: not self.program.alive(),
        )
        status = self.program.popen.returncode
        check(
            status == -signal.SIGKILL,
            f"{self.program.name} ended with {status} before {name}: {self.program.output()[-500:]}",
        )
        self.program = self.start()


def settle(weir, seen):
    try:
        wait_until(
            "every packet is recorded",
            SETTLE_S,
            lambda: oracle.packets_recorded(weir.db) >= seen,
            every=1,
        )
    except Exception as missing:  # the account says it better
        print(f"    {missing}")


def run(rng, options):
    rounds = 5 if options.long else 1
    with Lab("failpoints", rng) as lab:
        lab.fleet_of_one()
        weir = Weir(lab, build=f"{BUILD}-failpoints")
        weir.admit_probe()
        weir.start_sink()
        sides = [
            Side(
                weir.start_collector,
                [p for p in find_points("collector") if not is_of_compaction(p)],
            ),
            Side(weir.start_probe, find_points("probe")),
        ]
        weir.collector_ready(sides[0].program)
        weir.probe_ready(sides[1].program)
        before = lab.iface_packets()
        traffic = weir.start_traffic(rate=1500, flows=40)
        ends = 0
        plan = [(s, p, n) for s in sides for p in s.points for n in (1, rng.randint(2, 8))]
        for _ in range(rounds):
            rng.shuffle(plan)
            for side, point, times in plan:
                side.end_at(point, times)
                ends += 1
                time.sleep(rng.uniform(0, 0.3))
        collector, probe = (s.program for s in sides)
        weir.collector_ready(collector)
        weir.probe_ready(probe)
        sent = weir.end_traffic(traffic)
        seen = lab.iface_packets() - before
        settle(weir, seen)
        check(probe.stop() == 0, "the probe did not end well")
        check(collector.stop() == 0, "the collector did not end well")
        oracle.integrity(weir.db)
        lost, twice = oracle.compare_ports(sent, oracle.by_port(weir.db))
        declared = oracle.loss(weir.db)["packets"]
        return {
            "failpoints": sum(len(s.points) for s in sides),
            "ends": ends,
            "packets": seen,
            "lost": lost,
            "twice": twice + oracle.doubled_records(weir.db),
            "unaccounted_packets": seen - oracle.packets_recorded(weir.db) - declared,
        }


def holds(r, options):
    return (
        r["failpoints"] > 5
        and r["packets"] > 1000
        and r["lost"] == r["twice"] == r["unaccounted_packets"] == 0
    )
