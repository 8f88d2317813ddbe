# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""kill -9 of the probe and of the collector at random moments, while packets pass."""

import time

import oracle
from lab import Lab, check, wait_until
from weir import STARTED_S, Weir

SETTLE_S = 180


class Victim:
    """A program that is killed and started again; how often, and when it is next.

    Half of the times it is given until it says that it is at work, and a random while more; else
    it is killed at a random moment of its start.
    """

    def __init__(self, rng, start, at_work):
        self.rng, self.start, self.at_work = rng, start, at_work
        self.kills = self.kills_at_work = 0
        self.begin()

    def begin(self):
        self.program = self.start()
        self.began = time.monotonic()
        self.patient = self.rng.random() < 0.5
        self.due = None if self.patient else self.began + self.rng.uniform(0, 1)

    def step(self):
        now = time.monotonic()
        check(
            self.program.alive(), f"{self.program.name} has ended: {self.program.output()[-500:]}"
        )
        if self.due is None:
            check(now - self.began < STARTED_S, f"{self.program.name} does not get to work")
            if self.program.says(self.at_work):
                self.due = now + self.rng.uniform(0, 1.5)
        elif now >= self.due:
            self.kills += self.program.kill()
            self.kills_at_work += self.patient
            self.begin()


def kills_wanted(options):
    return options.kills or (1000 if options.long else 200)


def run(rng, options):
    wanted = kills_wanted(options)
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

        victims = [
            Victim(rng, weir.start_probe, "connected"),
            Victim(rng, weir.start_collector, "listening on"),
        ]
        while sum(v.kills for v in victims) < wanted:
            for victim in victims:
                victim.step()
            time.sleep(0.02)

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
            "kills_at_work": sum(v.kills_at_work for v in victims) + 2,
            "packets": seen,
            "lost": lost,
            "twice": twice,
            "unaccounted_packets": seen - oracle.packets_recorded(weir.db) - declared,
        }


def holds(r, options):
    return (
        r["kills"] >= kills_wanted(options)
        and r["packets"] > 1000
        and r["lost"] == r["twice"] == r["unaccounted_packets"] == 0
    )
