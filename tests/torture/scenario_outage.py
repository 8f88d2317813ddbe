# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The collector is away for so long that a small spool overflows: what is gone is known exactly."""

import os
import time

import oracle
from lab import Lab, check, wait_until
from weir import Weir

SPOOL_MAX = 1 << 20


class DiskWatch:
    """The most that the spool has ever taken, journals and all."""

    def __init__(self, folder):
        self.folder, self.max = folder, 0

    def look(self):
        total = 0
        for entry in os.scandir(self.folder):
            try:
                total += entry.stat().st_size
            except FileNotFoundError:
                pass  # a journal comes and goes
        self.max = max(self.max, total)
        return self.max


def run(rng, options):
    seconds = 300 if options.long else 40
    with Lab("outage", rng) as lab:
        lab.fleet_of_one()
        spool_dir = f"{lab.work}/spool"
        os.mkdir(spool_dir)
        weir = Weir(lab, spool_dir=spool_dir)
        weir.admit_probe()
        weir.start_sink()
        collector = weir.collector_ready(weir.start_collector())
        probe = weir.probe_ready(weir.start_probe("--spool-max", str(SPOOL_MAX)))
        before, before_bytes = lab.iface_packets(), lab.iface_bytes()
        traffic = weir.start_traffic(rate=3000, flows=3000)
        disk = DiskWatch(spool_dir)
        time.sleep(3)
        collector.kill()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            disk.look()
            time.sleep(0.02)
        wait_until("the spool overflows", 120, lambda: probe.says("the spool is full"))
        weir.collector_ready(weir.start_collector())
        time.sleep(5)
        sent = weir.end_traffic(traffic)
        seen = lab.iface_packets() - before
        seen_bytes = lab.iface_bytes() - before_bytes

        def all_told():
            disk.look()
            told = oracle.packets_recorded(weir.db) + oracle.loss(weir.db)["packets"]
            return told >= seen

        try:
            wait_until("every packet is recorded or declared lost", 180, all_told, every=1)
        except Exception as missing:  # the account below says it better
            print(f"    {missing}")
        check(probe.stop() == 0, "the probe did not end well")
        declared = oracle.loss(weir.db)
        lost, twice = oracle.compare_ports(sent, oracle.by_port(weir.db))
        recorded_bytes = oracle.number(
            weir.db, "SELECT coalesce(sum(bytes + rev_bytes), 0) FROM flows"
        )
        return {
            "packets": seen,
            "declared_lost": declared["packets"],
            "tombstones": declared["records"],
            "tombstone_error": declared["packets"] - lost,
            "tombstone_error_bytes": seen_bytes - recorded_bytes - declared["bytes"],
            "unaccounted_packets": seen - oracle.packets_recorded(weir.db) - declared["packets"],
            "twice": twice + oracle.doubled_records(weir.db),
            "spool_max_bytes": disk.max,
            "spool_cap_bytes": SPOOL_MAX,
        }


def holds(r, options):
    return (
        r["declared_lost"] > 0
        and r["tombstone_error"] == r["tombstone_error_bytes"] == 0
        and r["unaccounted_packets"] == r["twice"] == 0
        and r["spool_max_bytes"] <= r["spool_cap_bytes"] * 1.01
    )
