# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Peers that should not be heard: what of theirs the collector takes. The answer is nothing.

A message counts as taken when it is welcomed, acknowledged or in the database.
"""

import json
import sys
import time

import oracle
from lab import COLLECTOR, Lab, check, wait_until
from thread_stop import StoppedThread
from weir import HERE, STARTED_S, Weir

GUARD = "weir-guard"
REVOKED_WITHIN_S = 1


class Attacks:
    def __init__(self, lab, weir, collector):
        self.lab, self.weir, self.collector = lab, weir, collector
        self.accepted = {}

    def rows(self):
        return oracle.number(self.weir.db, "SELECT count(*) FROM flows")

    def bench(self, *options, seconds=4, **more):
        return self.weir.bench(
            *("--probes", "3", "--seconds", str(seconds), "--warm-up", "0"), *options, **more
        )

    def attack(self, name, *options, welcome_is_fine=False, **more):
        """Simulated probes that should get nowhere."""
        before = self.rows()
        result = self.weir.bench_result(self.bench("--no-settle", *options, **more))
        taken = sum(p["acked_seq"] for p in result["fleet"]) + self.rows() - before
        if not welcome_is_fine:
            taken += result["welcomes"]
        self.accepted[name] = taken

    def honest(self, keys, *options):
        """Peers that should be heard, or all of this proves nothing."""
        before = self.rows()
        result = self.weir.bench_result(self.bench(*options, keys=keys))
        check(result["flows_acked"] > 0, f"an honest probe was not heard: {result['nacks']}")
        check(result["unsettled"] == 0, "an honest probe waits for its last acknowledgement")
        return self.rows() - before - result["flows_acked"]

    def guard_stopped(self, keys):
        """The thread that answers for the keys hangs: nobody comes in, known or not."""
        with StoppedThread(self.collector.pid, GUARD):
            self.attack("guard_stopped_unknown")
            self.attack("guard_stopped_known", keys=keys)

    def revoked(self, keys, name):
        """A host is revoked while it sends: how long it is heard after that."""
        bench = self.bench("--probes", "1", "--rate", "5000", "--rows", "50", "--live",
                           "--no-settle", seconds=20, keys=keys)
        wait_until("the host is heard", STARTED_S, lambda: self.weir.acked(bench) > 3)
        self.lab.run(COLLECTOR, "hosts", "revoke", name, "--db", self.weir.db)
        revoked_ms = time.time() * 1000
        time.sleep(REVOKED_WITHIN_S)
        rows = self.rows()
        result = self.weir.bench_result(bench)
        self.accepted["revoked_live"] = self.rows() - rows
        last_ms = result["fleet"][0]["last_ack_ms"]
        self.attack("revoked_again", "--probes", "1", keys=keys)
        return max(0, last_ms - revoked_ms) / 1000

    def wire_replay(self, keys):
        """The encrypted bytes of a good connection, said again on connections of their own."""
        kept = f"{self.lab.work}/wire"
        recorder = self.lab.start(
            "recorder",
            *(sys.executable, f"{HERE}/replay.py", "record", "7555", "7441", kept),
            host="c",
        )
        wait_until("the recorder is there", STARTED_S, lambda: recorder.says("ready"))
        self.weir.url = "tcp://127.0.0.1:7555"
        bench = self.bench("--probes", "1", "--rate", "5000", "--rows", "50", keys=keys)
        result = self.weir.bench_result(bench)
        self.weir.url = "tcp://127.0.0.1:7441"
        check(result["flows_acked"] > 0, "nothing was recorded")
        recorder.kill()
        before = self.rows()
        self.lab.run(sys.executable, f"{HERE}/replay.py", "again", "7441", kept, host="c")
        self.accepted["wire_replay"] = self.rows() - before


def ids_of(keys):
    with open(keys, encoding="ascii") as f:
        return [line.split()[2] for line in f]


def run(rng, options):
    with Lab("hostile", rng) as lab:
        lab.host("c")
        weir = Weir(lab)
        weir.url = "tcp://127.0.0.1:7441"
        good = weir.make_keys(3)
        doomed = weir.make_keys(1, name="doomed")
        collector = weir.collector_ready(weir.start_collector())
        attacks = Attacks(lab, weir, collector)

        difference = attacks.honest(good)
        attacks.attack("unknown_key")
        attacks.attack("no_curve", curve=False)
        victim = ("--victim", ids_of(doomed)[0])
        attacks.attack("spoofed_host", "--conduct", "spoof", *victim, keys=good)
        attacks.attack("batches_of_another", "--conduct", "foreign", *victim, keys=good,
                       welcome_is_fine=True)
        attacks.guard_stopped(good)
        replayed = attacks.honest(good, "--conduct", "replay")
        attacks.wire_replay(good)
        revoked_s = attacks.revoked(doomed, "doomed0000")
        difference += attacks.honest(good)
        check(collector.stop() == 0, "the collector did not end well")
        return {
            "attacks": len(attacks.accepted) + 1,
            "unauthorised_accepted": sum(attacks.accepted.values()),
            "accepted": json.dumps({k: v for k, v in attacks.accepted.items() if v}),
            "revoked_heard_s": round(revoked_s, 3),
            "lost": max(0, -difference),
            "twice": max(0, difference) + abs(replayed),
        }


def holds(r, options):
    return (
        r["unauthorised_accepted"] == r["lost"] == r["twice"] == 0
        and r["revoked_heard_s"] <= REVOKED_WITHIN_S
    )
