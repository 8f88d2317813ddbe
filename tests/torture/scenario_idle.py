# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""10,000 connections that say nothing, at a collector that may open few files.

How long, from the last of the connections on, a probe that comes then waits for its first
acknowledgement, and one that was there before for its next: the median of some rounds.
"""

import statistics
import sys
import time

from lab import Lab, check, wait_until
from weir import HERE, STARTED_S, Weir

CONNECTIONS = 10000
FD_LIMIT = 512
SERVED_S = 5
PATIENCE_S = 120


def one_round(lab, weir, number, old, new_keys):
    """How long a new probe waits, and one that is connected, from the last connection on."""
    flood = lab.start(
        f"flood-{number}",
        *(sys.executable, f"{HERE}/flood.py", "127.0.0.1", "7441", str(CONNECTIONS)),
        host="c",
    )
    wait_until("all connections are begun", PATIENCE_S, lambda: flood.says("begun"))
    began, acked = time.monotonic(), weir.acked(old)
    new = weir.bench(
        *("--live", "--probes", "1", "--rate", "5000", "--rows", "50", "--seconds", "600"),
        name="new",
        keys=new_keys,
    )
    old_s = new_s = None
    while old_s is None or new_s is None:
        now_s = time.monotonic() - began
        check(now_s < PATIENCE_S, "a probe is not served any more")
        if old_s is None and weir.acked(old) > acked:
            old_s = now_s
        if new_s is None and weir.acked(new) > 0:
            new_s = now_s
        time.sleep(0.02)
    new.kill()
    flood.kill()
    return new_s, old_s


def run(rng, options):
    rounds = 9 if options.long else 3
    with Lab("idle", rng) as lab:
        lab.host("c")
        weir = Weir(lab)
        weir.url = "tcp://127.0.0.1:7441"
        keys = [weir.make_keys(1) for _ in range(rounds + 1)]
        collector = weir.collector_ready(weir.start_collector(limit=FD_LIMIT))
        old = weir.bench(
            *("--live", "--probes", "1", "--rate", "5000", "--rows", "50", "--seconds", "3600"),
            name="old",
            keys=keys[-1],
        )
        wait_until("the first probe is served", STARTED_S, lambda: weir.acked(old) > 0)
        times = [one_round(lab, weir, i, old, keys[i]) for i in range(rounds)]
        check(collector.alive(), "the collector did not survive")
        old.kill()
        return {
            "idle_connections": CONNECTIONS,
            "fd_limit": FD_LIMIT,
            "rounds": rounds,
            "idle_flood_recovery_s": round(statistics.median(new for new, _ in times), 2),
            "worst_s": round(max(new for new, _ in times), 2),
            "connected_probe_s": round(statistics.median(old_s for _, old_s in times), 2),
        }


def holds(r, options):
    return r["idle_flood_recovery_s"] <= SERVED_S
