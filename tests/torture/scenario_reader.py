# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Readers that hold a transaction for minutes while the fleet delivers.

Twice: commands of weir, one after the other, which the collector has to bound without losing
speed (at 40 % of what it takes, so that a busy machine does not decide; what becomes of the full
rate is told, too); and an sqlite3 shell, which nobody but its owner may end: then the log must stay bounded,
and nothing may be lost.
"""

import os
import time

import oracle
from lab import COLLECTOR, Lab, check
from weir import Weir

# A hundred million rows: told by the blocks that hold them.
ROWS_SQL = (
    "SELECT (SELECT coalesce(sum(n_rows), 0) FROM flow_segment)"
    " + (SELECT coalesce(sum(n_rows), 0) FROM flow_fresh)"
)
WAL_BOUND = 256 << 20
LOAD = 0.4  # of what the collector takes: what a fleet may well send for minutes
class WalWatch:
    def __init__(self, db):
        self.path, self.max = f"{db}-wal", 0

    def look(self):
        self.max = max(self.max, oracle.size_on_disk(self.path))


def ingest(weir, keys, seconds, reader=None, rate=0):
    """Flows a second, as acknowledged, while reader() keeps a reader going; rate 0: all it takes."""
    bench = weir.bench(
        *("--probes", "20", "--seconds", str(seconds), "--warm-up", "3", "--window", "64"),
        *("--rate", str(rate)),
        keys=keys,
    )
    wal = WalWatch(weir.db)
    while bench.alive():
        wal.look()
        if reader:
            reader()
        time.sleep(0.2)
    result = weir.bench_result(bench)
    check(result["unsettled"] == 0, "batches were never acknowledged")
    return result, wal.max


class SlowReaders:
    """Somebody who looks at flows in a pager, and begins again when that has been ended."""

    def __init__(self, lab, weir):
        self.lab, self.weir = lab, weir
        self.running, self.begun = None, 0
        _, self.unread = os.pipe()  # nobody reads what the command prints

    def keep(self):
        if self.running and self.running.alive():
            return
        self.weir.runs += 1
        self.begun += 1
        self.running = self.lab.start(
            f"slow-{self.weir.runs}",
            *(COLLECTOR, "sql", "--db", self.weir.db, "-n", "0", "--timeout", "1h"),
            "SELECT * FROM flows",
            stdout=self.unread,
        )

    def end(self):
        if self.running:
            self.running.kill()
        self.running = None


def mean(results):
    return sum(r["flows_per_s"] for r in results) / len(results)


def run(rng, options):
    seconds = 120 if options.long else 30
    with Lab("reader", rng) as lab:
        lab.host("c")
        weir = Weir(lab)
        weir.url = "tcp://127.0.0.1:7441"
        keys = weir.make_keys(20)
        collector = weir.collector_ready(weir.start_collector())
        slow = SlowReaders(lab, weir)
        full, _ = ingest(weir, keys, 12)
        full_held, wal_held = ingest(weir, keys, seconds, slow.keep)
        slow.end()
        rate = round(full["flows_per_s"] * LOAD)
        base, held = [ingest(weir, keys, 12, rate=rate)[0]], []
        for _ in range(2):  # in turn, as others may use the machine, too
            result, wal = ingest(weir, keys, seconds, slow.keep, rate)
            slow.end()
            held.append(result)
            wal_held = max(wal_held, wal)
            base.append(ingest(weir, keys, 12, rate=rate)[0])

        lab.start(
            "shell", "sh", "-c",
            f"(echo 'BEGIN; SELECT count(*) FROM host;'; sleep {seconds}) |"
            f" sqlite3 -readonly {weir.db}",
        )
        foreign, wal_foreign = ingest(weir, keys, seconds, rate=rate)
        check(collector.stop() == 0, "the collector did not end well")
        acked = sum(r["flows_acked"] for r in (full, full_held, *base, *held, foreign))
        rows = oracle.number(weir.db, ROWS_SQL)
        return {
            "wal_max_bytes": max(wal_held, wal_foreign),
            "wal_max_bytes_own": wal_held,
            "ingest_pct_of_base": round(100 * mean(held) / mean(base), 1),
            "base_flows_per_s": round(mean(base)),
            "full_flows_per_s": full["flows_per_s"],
            "full_pct_of_base": round(100 * full_held["flows_per_s"] / full["flows_per_s"], 1),
            "readers": slow.begun,
            "foreign_flows_per_s": foreign["flows_per_s"],
            "lost": max(0, acked - rows),
            "twice": max(0, rows - acked),
        }


def holds(r, options):
    return (
        r["wal_max_bytes"] <= WAL_BOUND
        and r["ingest_pct_of_base"] >= 90
        and r["lost"] == r["twice"] == 0
    )
