# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A large backlog drains; what happens meanwhile does not wait behind it."""

import json

import oracle
from lab import BACKLOG_BENCH, Lab, check
from weir import Weir

LIVE_P99_MAX_MS = 5000


def run(rng, options):
    batches = 1_000_000 if options.long else 100_000
    with Lab("backlog", rng) as lab:
        lab.host("c")
        weir = Weir(lab)
        weir.url = "tcp://127.0.0.1:7441"
        weir.admit_probe()
        collector = weir.collector_ready(weir.start_collector())
        bench = lab.start(
            "backlog-bench",
            *(BACKLOG_BENCH, weir.url, weir.state, weir.spool, str(batches)),
            host="c",
        )
        check(bench.popen.wait(1800) == 0, f"backlog-bench has failed: {bench.output()}")
        r = json.loads(bench.output().splitlines()[-1])
        sent = batches + r["live_batches"] + r["live_behind_backlog"]
        rows = oracle.number(weir.db, "SELECT count(*) FROM flows")
        r["lost"] = max(0, sent - rows)
        r["twice"] = max(0, rows - sent)
        check(collector.stop() == 0, "the collector did not end well")
        return r


def holds(r, options):
    return r["lost"] == r["twice"] == 0 and r["live_p99_ms"] < LIVE_P99_MAX_MS
