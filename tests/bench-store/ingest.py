# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a collector takes from simulated probes, end to end, and what questions cost meanwhile."""

import os
import statistics
import time

import measure
import oracle
from lab import check, wait_until
from weir import Weir

WARM_UP_S = 3
FRESH_SQL = "SELECT coalesce(sum(n_rows), 0) FROM flow_fresh"
RECORDS_SQL = (
    "SELECT (SELECT coalesce(sum(n_rows), 0) FROM flow_segment)"
    " + (SELECT coalesce(sum(n_rows), 0) FROM flow_fresh)"
)
URL = "tcp://127.0.0.1:7441"
SLOWDOWN_ROUNDS = 5
PROBES = 20  # that send meanwhile


def settle(weir, collector):
    """Until the compactor has merged what is enough for a segment, and all is quiet."""
    last = [None]

    def quiet():
        now = (oracle.number(weir.db, FRESH_SQL), round(collector.cpu_s(), 1))
        before, last[0] = last[0], now
        return before is not None and before[0] == now[0] and now[1] - before[1] < 0.1

    wait_until("the compactor has nothing left to do", 300, quiet, every=1)


def ingest(bench, probes):
    """Everything that it costs, compaction to its end included, over everything acknowledged."""
    folder = f"{bench.lab.work}/ingest-{probes}"
    os.makedirs(folder)
    weir = Weir(bench.lab, db_dir=folder)
    weir.url = URL
    keys = weir.make_keys(probes)
    collector = weir.collector_ready(weir.start_collector())
    began_s = collector.cpu_s()
    sender = weir.bench(
        *("--probes", str(probes), "--seconds", str(bench.options.seconds)),
        *("--warm-up", str(WARM_UP_S), "--window", "64" if probes == 1 else "8"),
        keys=keys,
    )
    result = weir.bench_result(sender, 600)
    check(result["unsettled"] == 0, f"{result['unsettled']} probes wait for an acknowledgement")
    settle(weir, collector)
    cpu_s, peak = collector.cpu_s() - began_s, collector.rss_bytes()
    check(collector.stop() == 0, "the collector did not end well")
    flows, stored = result["flows_acked"], oracle.number(weir.db, RECORDS_SQL)
    check(stored == flows, f"{flows} flows acknowledged, {stored} stored")
    figures = {
        "flows_per_s": round(result["flows_per_s"]),
        "cpu_us_per_flow": cpu_s / flows * 1e6,
        "ack_p99_ms": result["ack_p99_ms"],
        "peak_bytes": peak,
        "flows": flows,
        "bytes_per_flow": measure.size_of(weir.db) / flows,
    }
    for name in os.listdir(folder):
        os.remove(f"{folder}/{name}")
    return figures


def slowdown(bench, store, question, rate):
    """The question alone, and while rate flows/s come in; in turn, as the machine has its moods."""
    weir = Weir(bench.lab, db_dir=store.path)
    weir.url = URL
    keys = weir.make_keys(PROBES)
    collector = weir.collector_ready(weir.start_collector())
    last_ms = oracle.number(store.db, "SELECT max(max_end_ms) FROM flow_segment")
    # What comes in now is newer, so that the answer stays the same.
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(last_ms // 1000 + 2))
    command = store.report(*question.report[0], "--until", until)
    alone, meanwhile = [], []
    measure.run(command, bench.options.limit)
    for _ in range(SLOWDOWN_ROUNDS):
        alone.append(measure.run(command, bench.options.limit).seconds)
        sender = weir.bench(
            *("--probes", str(PROBES), "--seconds", "3600", "--warm-up", "0", "--window", "64"),
            *("--rate", str(rate), "--live"),
            keys=keys,
        )
        wait_until("flows come in", 60, lambda s=sender: weir.acked(s) > 0)
        time.sleep(1)  # at its rate
        meanwhile.append(measure.run(command, bench.options.limit).seconds)
        sender.stop()
        settle(weir, collector)
    check(collector.stop() == 0, "the collector did not end well")
    return {"alone_s": statistics.median(alone), "meanwhile_s": statistics.median(meanwhile)}
