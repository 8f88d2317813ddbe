# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""500 simulated probes that send all that they may: what the collector takes, and at what cost."""

import time

import oracle
from lab import Lab, check
from weir import Weir

PROBES = 500


def compare(db, result):
    """Rows that are missing, and rows that are too many. A flow's id has the numbers of its probe
    and of its batch, whose sums tell if one stands for another."""
    got = oracle.query(
        db,
        "SELECT count(*) AS n, sum(seq) AS seqs, sum(seq * seq) AS squares,"
        " sum(seq * probe) AS weighted FROM (SELECT (flow_id >> 12) & 0x3fffffff AS seq,"
        " flow_id >> 42 AS probe FROM flows)",
    )[0]
    n = seqs = squares = weighted = 0
    for number, probe in enumerate(result["fleet"]):
        last, rows = probe["acked_seq"], result["rows"]
        n += rows * last
        seqs += rows * last * (last + 1) // 2
        squares += rows * last * (last + 1) * (2 * last + 1) // 6
        weighted += (number + 1) * (rows * last * (last + 1) // 2)
    lost, twice = max(0, n - int(got["n"])), max(0, int(got["n"]) - n)
    if lost == twice and [seqs, squares, weighted] != [
        int(got[key]) for key in ("seqs", "squares", "weighted")
    ]:
        lost, twice = 1, 1  # at least
    return lost, twice


def run(rng, options):
    seconds = 120 if options.long else 30
    warm_up = 10
    with Lab("fleet", rng) as lab:
        lab.host("c")
        weir = Weir(lab)
        weir.url = "tcp://127.0.0.1:7441"
        keys = weir.make_keys(PROBES)
        collector = weir.collector_ready(weir.start_collector())
        bench = weir.bench(
            *("--probes", str(PROBES), "--seconds", str(seconds), "--warm-up", str(warm_up)),
            *("--window", "2"),
            keys=keys,
        )
        time.sleep(warm_up)
        cpu_s, began = collector.cpu_s(), time.monotonic()
        time.sleep(seconds)
        cpu_s, elapsed = collector.cpu_s() - cpu_s, time.monotonic() - began
        r = weir.bench_result(bench)
        rss = collector.rss_bytes()
        check(r["unsettled"] == 0, f"{r['unsettled']} probes wait for their last acknowledgement")
        check(collector.stop() == 0, "the collector did not end well")
        lost, twice = compare(weir.db, r)
        return {
            "ingest_flows_per_s": r["flows_per_s"],
            "ingest_p50_ack_ms": r["ack_p50_ms"],
            "ingest_p99_ack_ms": r["ack_p99_ms"],
            "ingest_cpu_pct": round(100 * cpu_s / elapsed),
            "ingest_rss_bytes": rss,
            "refusals": sum(r["nacks"].values()),
            "flows": r["flows_acked"],
            "lost": lost,
            "twice": twice,
        }


def holds(r, options):
    return r["lost"] == r["twice"] == 0 and r["ingest_flows_per_s"] > 0
