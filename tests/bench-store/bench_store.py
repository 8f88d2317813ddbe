#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What storing and asking costs: weir beside SQLite rows, nfdump and ClickHouse, in one run.

Makes the records of one fleet (weir-fill, seeded) in each store, compares the answers to eight
questions, and then tells the times; sends flows to a collector; and writes store.json. Stores that
are not installed are named and left out: apt-get install --no-install-recommends nfdump
clickhouse-server clickhouse-client sqlite3. Needs root for a network namespace; works in the build
folder and leaves nothing there but the results.
"""

import sys

sys.dont_write_bytecode = True  # nothing is left in the source folder

import argparse
import os
import platform
import random
import shutil
import signal
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "torture")]

import ingest
import questions
import results
from asking import Asking, tell
from lab import BUILD, Failed, Lab, check
from stores import PEER_STORES, WeirStore
from torture import machine

BYTES_PER_FLOW = 450  # of all stores together, and their logs
SPARE_BYTES = 3 << 30
MAIN_SIZE = 10_000_000
# What store.json always has; make property and make torture write the others.
KEYS = (
    "ingest_flows_per_s",
    "ingest_cpu_us_per_flow",
    "nfcapd_cpu_us_per_flow",
    "ingest_over_sqlite_rows",
    "bytes_per_flow",
    "queries",
    "window_5min_host_ms",
    "slowdown_while_ingesting",
)
OTHERS_KEYS = ("property_queries", "property_mismatches", "compaction_kills", "compaction_lost")


def number(text):
    factor = {"k": 1000, "M": 1_000_000}.get(text[-1:], 1)
    return round(float(text.rstrip("kM")) * factor)


def short(n):
    return f"{n // 1_000_000}M" if n % 1_000_000 == 0 else f"{n // 1000}k"


def read_options():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog=" ".join(__doc__.splitlines()[2:])
    )
    parser.add_argument("--sizes", default="1M,10M", metavar="N,...", help="records (1M,10M)")
    parser.add_argument("--long", action="store_true", help="50M, too")
    parser.add_argument("--seed", type=int, default=1, help="another fleet (1)")
    parser.add_argument("--seconds", type=int, default=15, help="of ingest, each time (15)")
    parser.add_argument("--limit", type=int, default=60, metavar="S", help="for one answer (60)")
    parser.add_argument("--results", default="build/results", metavar="DIR")
    options = parser.parse_args()
    options.sizes = sorted({number(size) for size in options.sizes.split(",")})
    if options.long:
        options.sizes.append(50_000_000)
    return options


def check_space(options):
    needed = options.sizes[-1] * BYTES_PER_FLOW + SPARE_BYTES
    free = shutil.disk_usage(BUILD).free
    if free < needed:
        sys.exit(
            f"bench-store: {BUILD} has {free >> 30} GiB free; {short(options.sizes[-1])} records"
            f" in all stores need {(needed >> 30) + 1} GiB"
        )


class Bench:
    def __init__(self, options, lab):
        self.options, self.lab = options, lab
        self.wrong = []  # answers that differ
        self.growth = {}
        self.figures = dict.fromkeys(KEYS)
        self.peers = []
        for kind in PEER_STORES:
            if kind.missing():
                tell(f"{kind.label} is left out: {kind.missing()} is not installed")
            else:
                self.peers.append(kind)

    def add(self, **figures):
        """Kept on disk at once: a run that is cut short leaves what it has."""
        self.figures.update(figures)
        results.merge(self.options.results, "store", figures, OTHERS_KEYS)

    # --- one size ----------------------------------------------------------------------

    def make(self, n):
        stores, made = [], {}
        for kind in (WeirStore, *self.peers):
            store = kind(self, n)
            began = time.monotonic()
            figures = made[kind.label] = store.make()
            stores.append(store)
            about = ", ".join(f"{key} {value:,.2f}" for key, value in figures.items())
            tell(f"  {kind.label:11}{time.monotonic() - began:5.0f} s  {about}")
        check(len({store.records for store in stores}) == 1, "the stores differ in their records")
        tell(f"  {stores[0].records:,} records in each")
        return stores, made

    def one_size(self, n):
        tell(f"{short(n)} records")
        stores, made = self.make(n)
        try:
            asking = Asking(stores)
            answers = asking.all()
            window = asking.window()
            tell("  5 minutes of one host, ms: "
                 + ", ".join(f"{label} {ms:.1f}" for label, ms in window.items()))
            self.wrong += asking.wrong
            self.growth[str(n)] = {"stores": made, "queries": answers, "window_ms": window}
            self.add(growth=self.growth)
            if n == min(MAIN_SIZE, self.options.sizes[-1]):
                self.main_size(n, stores, made, answers, window)
        finally:
            for store in stores:
                store.remove()

    def main_size(self, n, stores, made, answers, window):
        self.add(
            queries_at=n,
            queries={name: self.as_results(timed) for name, timed in answers.items()},
            bytes_per_flow=round(made["weir"]["bytes_per_flow"], 2),
            bytes_per_flow_of={k: round(v["bytes_per_flow"], 2) for k, v in made.items()},
            window_5min_host_ms=round(window["weir"], 1),
            window_5min_host_whole_report_ms=round(window["weir_whole"], 1),
            window_5min_host_sql_ms=round(window["weir_sql"], 1),
            nfcapd_cpu_us_per_flow=made.get("nfdump", {}).get("cpu_us_per_flow"),
        )
        self.ingest(made.get("rows"))
        self.slowdown(stores[0])

    @staticmethod
    def as_results(timed):
        def figure(store, key):
            return (timed.get(store) or {}).get(key)

        return {
            "warm_s": figure("weir", "warm_s"),
            "cold_s": figure("weir", "cold_s"),
            "nfdump_s": figure("nfdump", "warm_s"),
            "clickhouse_s": figure("clickhouse", "warm_s"),
            "whole_report_s": figure("weir_whole", "warm_s"),
            "sql_s": figure("weir_sql", "warm_s"),
            "sql_cold_s": figure("weir_sql", "cold_s"),
            "rows_s": figure("rows", "warm_s"),
            "peak_bytes": figure("weir", "peak_bytes"),
        }

    # --- ingest ------------------------------------------------------------------------

    def ingest(self, rows):
        tell(f"ingest over ZeroMQ and CURVE, {self.options.seconds} s each; CPU of the whole"
             " collector, merging included")
        figures = {}
        for probes in (1, 50):
            f = figures[str(probes)] = ingest.ingest(self, probes)
            tell(f"  {probes:3} probes: {f['flows_per_s']:,} flows/s, {f['cpu_us_per_flow']:.3f} us"
                 f" of CPU a flow, acknowledged within {f['ack_p99_ms']:.0f} ms (p99),"
                 f" {f['peak_bytes'] >> 20} MiB")
        best = figures["50"]
        self.add(
            ingest=figures,
            ingest_flows_per_s=best["flows_per_s"],
            ingest_cpu_us_per_flow=round(best["cpu_us_per_flow"], 4),
        )
        if rows:
            ratio = round(best["flows_per_s"] / rows["insert_flows_per_s"], 2)
            self.add(ingest_over_sqlite_rows=ratio)
            tell(f"  {ratio:.1f} times a plain SQLite table's {rows['insert_flows_per_s']:,} rows/s")

    def slowdown(self, store):
        question = questions.QUESTIONS[0]
        rate = self.figures["ingest_flows_per_s"] // 2
        try:
            figures = ingest.slowdown(self, store, question, rate)
        except RuntimeError as error:
            tell(f"  {question.name} while flows come in: no figure: {error}")
            return
        ratio = round(figures["meanwhile_s"] / figures["alone_s"], 2)
        self.add(slowdown_while_ingesting=ratio)
        tell(f"  {question.name} alone {figures['alone_s']:.3f} s; while {rate:,} flows/s come in"
             f" {figures['meanwhile_s']:.3f} s: {ratio} times")


def main():
    options = read_options()
    if os.geteuid() != 0:
        sys.exit("bench-store: needs root, for a network namespace")
    check_space(options)
    # A signal becomes an exception, so that everything is put away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    tempfile.tempdir = BUILD
    tell(f"bench-store: seed {options.seed}, {os.cpu_count()} CPUs, Linux {platform.release()},"
         f" load {os.getloadavg()[0]:.1f}")
    try:
        with Lab("store", random.Random(options.seed)) as lab:
            lab.host("c")
            bench = Bench(options, lab)
            bench.add(target="store", seed=options.seed, machine=machine(),
                      load=round(os.getloadavg()[0], 1))
            for n in options.sizes:
                bench.one_size(n)
    except Failed as error:
        sys.exit(f"bench-store: {error}")
    missing = [key for key in KEYS if bench.figures[key] is None]
    bench.add(**{key: None for key in missing}, wrong=bench.wrong)
    tell(f"written to {options.results}/store.json"
         + (f"; without {', '.join(missing)}" if missing else ""))
    if bench.wrong:
        sys.exit(f"bench-store: {len(bench.wrong)} answers are wrong: {'; '.join(bench.wrong)}")


if __name__ == "__main__":
    main()
