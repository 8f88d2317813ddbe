# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A full disk, at random moments: under the database, and under the spool."""

import os
import time

import oracle
from lab import Lab, check, wait_until
from weir import Weir

RECOVERY_S = 60
PATIENCE_S = 180  # before a test gives up; the bound is RECOVERY_S


class Ballast:
    """A file that takes what is left of a small disk."""

    def __init__(self, folder):
        self.path = f"{folder}/ballast"

    def fill(self):
        with open(self.path, "ab", buffering=0) as f:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        f.write(bytes(size))
                except OSError:
                    pass

    def remove(self):
        os.unlink(self.path)


def recovery(what, condition):
    return wait_until(what, PATIENCE_S, condition, every=0.2)


def committed(weir):
    return oracle.number(weir.db, "SELECT coalesce(sum(last_seq), 0) FROM epoch")


def fill_database_disk(lab, weir, ballast, collector, rounds):
    """How long after each return of space batches are committed again, at most."""
    worst = 0.0
    for _ in range(rounds):
        time.sleep(lab.rng.uniform(0.5, 3))
        ballast.fill()
        time.sleep(lab.rng.uniform(3, 6))
        check(collector.alive(), "the collector did not survive a full disk")
        before = committed(weir)
        ballast.remove()
        worst = max(worst, recovery("batches are committed", lambda b=before: committed(weir) > b))
    check(collector.says("disk full"), "the disk was never full")
    return worst


def fill_spool_disk(lab, weir, ballast, probe, rounds):
    """The collector is away: all has to go to the disk that is full."""
    worst = 0.0
    for _ in range(rounds):
        time.sleep(lab.rng.uniform(0.5, 3))
        ballast.fill()
        time.sleep(lab.rng.uniform(3, 6))
        check(probe.alive(), "the probe did not survive a full disk")
        ballast.remove()
        freed_ns = time.time_ns()
        worst = max(
            worst,
            recovery(
                "the spool is written", lambda t=freed_ns: os.stat(weir.spool).st_mtime_ns > t
            ),
        )
    return worst


def settle(weir, seen):
    try:
        wait_until(
            "every packet is recorded",
            PATIENCE_S,
            lambda: oracle.packets_recorded(weir.db) + oracle.loss(weir.db)["packets"] >= seen,
            every=1,
        )
    except Exception as missing:  # the account says it better
        print(f"    {missing}")


def run(rng, options):
    rounds = 20 if options.long else 4
    with Lab("disk", rng) as lab:
        lab.fleet_of_one()
        db_dir = lab.small_disk("db", "64m")
        spool_dir = lab.small_disk("spool", "32m")
        weir = Weir(lab, db_dir=db_dir, spool_dir=spool_dir)
        weir.admit_probe()
        weir.start_sink()
        collector = weir.collector_ready(weir.start_collector())
        probe = weir.probe_ready(weir.start_probe("--spool-max", "24M"))
        before = lab.iface_packets()
        traffic = weir.start_traffic(rate=1500, flows=1000)

        worst_db = fill_database_disk(lab, weir, Ballast(db_dir), collector, rounds)
        check(collector.stop() == 0, "the collector did not end well")
        oracle.integrity(weir.db)
        worst_spool = fill_spool_disk(lab, weir, Ballast(spool_dir), probe, rounds)

        collector = weir.collector_ready(weir.start_collector())
        sent = weir.end_traffic(traffic)
        seen = lab.iface_packets() - before
        settle(weir, seen)
        check(probe.stop() == 0, "the probe did not end well")
        check(collector.stop() == 0, "the collector did not end well")
        oracle.integrity(weir.db)
        oracle.integrity(weir.spool)
        lost, twice = oracle.compare_ports(sent, oracle.by_port(weir.db))
        declared = oracle.loss(weir.db)["packets"]
        return {
            "rounds": 2 * rounds,
            "packets": seen,
            "recovery_s": round(max(worst_db, worst_spool), 1),
            "recovery_db_s": round(worst_db, 1),
            "recovery_spool_s": round(worst_spool, 1),
            "lost": lost - declared,
            "twice": twice + oracle.doubled_records(weir.db),
            "unaccounted_packets": seen - oracle.packets_recorded(weir.db) - declared,
        }


def holds(r, options):
    return (
        r["recovery_s"] <= RECOVERY_S
        and r["lost"] == r["twice"] == r["unaccounted_packets"] == 0
    )
