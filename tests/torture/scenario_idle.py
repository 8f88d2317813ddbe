# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""10,000 connections that say nothing, at a collector that may open few files.

Two figures: how long a probe that comes in the middle of it waits for its first acknowledgement
from the last of the connections on, and how long one that was there before had to wait for any.
"""

import sys
import time

from lab import Lab, check, wait_until
from weir import HERE, STARTED_S, Weir

CONNECTIONS = 10000
FD_LIMIT = 512
SERVED_S = 5
PATIENCE_S = 120


def run(rng, options):
    with Lab("idle", rng) as lab:
        lab.host("c")
        weir = Weir(lab)
        weir.url = "tcp://127.0.0.1:7441"
        collector = weir.collector_ready(weir.start_collector(limit=FD_LIMIT))
        old = weir.bench("--live", "--probes", "1", "--rate", "5000", "--rows", "50", "--seconds", "120",
                         name="old")
        wait_until("the first probe is served", STARTED_S, lambda: weir.acked(old) > 0)
        flood = lab.start(
            "flood", sys.executable, f"{HERE}/flood.py", "127.0.0.1", "7441", str(CONNECTIONS),
            host="c",
        )
        wait_until("all connections are begun", PATIENCE_S, lambda: flood.says("begun"))
        began = time.monotonic()
        new = weir.bench("--live", "--probes", "1", "--rate", "5000", "--rows", "50", "--seconds", "60",
                         name="new")
        try:
            wait_until("a new probe is served", PATIENCE_S, lambda: weir.acked(new) > 0,
                       every=0.02)
        except Exception as error:
            print(f"    {error}")
        new_s = time.monotonic() - began
        acked = weir.acked(old)
        wait_until("the old probe is served", PATIENCE_S, lambda: weir.acked(old) > acked)
        old_s = time.monotonic() - began
        check(collector.alive(), "the collector did not survive")
        return {
            "idle_connections": CONNECTIONS,
            "fd_limit": FD_LIMIT,
            "idle_flood_recovery_s": round(max(new_s, 0), 2),
            "old_probe_served_after_s": round(old_s, 2),
        }


def holds(r, options):
    return r["idle_flood_recovery_s"] <= SERVED_S
