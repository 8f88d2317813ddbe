# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""kill -9 of the probe and of the collector at random moments, while packets pass."""

import time

import oracle
from lab import Lab, check, wait_until
from weir import Weir

SETTLE_S = 180


class Victim:
    """A program that is killed and started again; how often, and when it is next."""

    def __init__(self, rng, start):
        self.rng, self.start = rng, start
        self.kills = 0
        self.program = None
        self.begin()

    def begin(self):
        self.program = self.start()
        self.due = time.monotonic() + self.rng.choice((0.1, 0.5, 1.0, 2.0)) * self.rng.random()

    def step(self):
        if time.monotonic() < self.due:
            return
        check(
            self.program.alive(), f"{self.program.name} has ended: {self.program.output()[-500:]}"
        )
        self.kills += self.program.kill()
        self.begin()


def run(rng, options):
    wanted = 1000 if options.long else 200
    with Lab("kills", rng) as lab:
        lab.fleet_of_one()
        weir = Weir(lab)
        weir.admit_probe()
        weir.start_sink()
        collector = weir.collector_ready(weir.start_collector())
        probe = weir.probe_ready(weir.start_probe())
        before = lab.iface_packets()
        traffic = weir.start_traffic(rate=1500, flows=40)
        check(probe.kill() and collector.kill(), "the programs have ended before they were killed")

        victims = [Victim(rng, weir.start_probe), Victim(rng, weir.start_collector)]
        while sum(v.kills for v in victims) < wanted:
            for victim in victims:
                victim.step()
            time.sleep(0.01)

        probe, collector = (v.program for v in victims)
        weir.collector_ready(collector)
        weir.probe_ready(probe)
        sent = weir.end_traffic(traffic)
        seen = lab.iface_packets() - before
        recorded = [0]

        def all_recorded():
            recorded[0] = oracle.packets_recorded(weir.db)
            return recorded[0] >= seen

        try:
            wait_until("every packet is recorded", SETTLE_S, all_recorded, every=1)
        except Exception as missing:  # the account below says it better
            print(f"    {missing}")
        check(probe.stop() == 0, "the probe did not end well")
        check(collector.stop() == 0, "the collector did not end well")
        oracle.integrity(weir.db)
        lost, twice = oracle.compare_ports(sent, oracle.by_port(weir.db))
        twice += oracle.doubled_records(weir.db)
        declared = oracle.loss(weir.db)["packets"]
        return {
            "kills": sum(v.kills for v in victims) + 2,
            "kills_probe": victims[0].kills + 1,
            "kills_collector": victims[1].kills + 1,
            "packets": seen,
            "lost": lost,
            "twice": twice,
            "unaccounted_packets": seen - oracle.packets_recorded(weir.db) - declared,
        }


def holds(r, options):
    return (
        r["kills"] >= (1000 if options.long else 200)
        and r["packets"] > 1000
        and r["lost"] == r["twice"] == r["unaccounted_packets"] == 0
    )
