#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Proves what weir promises of delivery: tests/torture/torture.py [OPTION...] [SCENARIO...]

Each scenario has its own hosts (network namespaces), programs and folder, and leaves nothing
behind. The seed decides when things happen; a run is not repeated by it exactly, since the
machine has its own mind. Prints a table and writes torture.json.
"""

import sys

sys.dont_write_bytecode = True  # nothing is left in the source folder

import argparse
import importlib
import json
import os
import platform
import random
import signal
import subprocess
import time
import traceback

import results

SCENARIOS = ("kills", "failpoints", "outage", "disk", "hostile", "idle", "fleet", "reader", "backlog", "compaction")
# Keys of torture.json, and how the scenarios' figures come together in one.
KEYS = {
    "kills": sum,
    "failpoints": sum,
    "lost": sum,
    "twice": sum,
    "unaccounted_packets": lambda values: sum(abs(v) for v in values),
    "tombstone_error": lambda values: sum(abs(v) for v in values),
    "recovery_s": max,
    "unauthorised_accepted": sum,
    "idle_flood_recovery_s": max,
    "wal_max_bytes": max,
}
BENCH_KEYS = ("ingest_flows_per_s", "ingest_p99_ack_ms", "ingest_rss_bytes", "ingest_cpu_pct")


def read_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1000000)
    parser.add_argument("--long", action="store_true", help="1,000 kills, and longer runs")
    parser.add_argument("--kills", type=int, metavar="N", help="so many, not 200 or 1,000")
    parser.add_argument("--bench", action="store_true", help="write bench.json alone")
    parser.add_argument("--results", default="build/results", metavar="DIR")
    options = parser.parse_args()
    unknown = set(options.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    options.scenarios = options.scenarios or list(available())
    return options


def available():
    here = os.path.dirname(os.path.abspath(__file__))
    return (s for s in SCENARIOS if os.path.exists(f"{here}/scenario_{s}.py"))


def run_scenario(name, options):
    """Its figures, whether they hold, and how long it took."""
    scenario = importlib.import_module(f"scenario_{name}")
    began = time.monotonic()
    try:
        figures = scenario.run(random.Random(f"{options.seed}-{name}"), options)
        good = scenario.holds(figures, options)
    except KeyboardInterrupt:
        raise
    except Exception as error:
        figures, good = {"error": str(error)}, False
        if type(error).__name__ != "Failed":
            traceback.print_exc()
    return figures, good, time.monotonic() - began


def print_row(name, figures, good, seconds):
    text = ", ".join(f"{key} {value:,}" if isinstance(value, (int, float)) else f"{key} {value}"
                     for key, value in figures.items())
    print(f"{'ok' if good else 'FAILED':7} {name:11} {seconds:5.0f} s  {text}", flush=True)


def machine():
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {"commit": commit, "cpus": os.cpu_count(), "kernel": platform.release()}


def together(scenarios):
    out = {}
    for key, merge in KEYS.items():
        values = [figures[key] for figures in scenarios.values() if key in figures]
        out[key] = merge(values) if values else None
    return out


def earlier(path, commit):
    """Scenarios that ran before on the same commit: each can be run alone."""
    try:
        with open(path, encoding="utf-8") as f:
            old = json.load(f)
        return old["scenarios"] if old["machine"]["commit"] == commit else {}
    except (OSError, ValueError, KeyError):
        return {}


def write_results(options, ran):
    os.makedirs(options.results, exist_ok=True)
    add_to_bench(options, ran.get("fleet", ({},))[0])
    add_to_store(options, ran.get("compaction", ({},))[0])
    if options.bench:
        return
    path = f"{options.results}/torture.json"
    here = machine()
    scenarios = earlier(path, here["commit"])
    for name, (figures, good, seconds) in ran.items():
        scenarios[name] = {
            "ok": good,
            "seed": options.seed,
            "seconds": round(seconds, 1),
            "load": round(os.getloadavg()[0], 1),
            **figures,
        }
    out = {"target": "torture", "seed": options.seed, "machine": here, **together(scenarios)}
    with open(path, "w", encoding="utf-8") as f:
        json.dump({**out, "scenarios": scenarios}, f, indent=2)
        f.write("\n")


def add_to_bench(options, figures):
    """What the fleet has measured belongs to the figures of speed, too."""
    ours = {key: figures[key] for key in BENCH_KEYS if key in figures}
    if ours:
        results.merge(options.results, "bench", ours)


def add_to_store(options, figures):
    """And what was proved of the store, to the store's."""
    if "compaction_kills" in figures:
        results.merge(
            options.results,
            "store",
            {
                "compaction_kills": figures["compaction_kills"],
                "compaction_lost": figures["lost"] + figures["twice"] + figures["rollup_error"],
            },
        )


def main():
    options = read_options()
    if os.geteuid() != 0:
        sys.exit("torture: needs root, for network namespaces and BPF")
    # A signal becomes an exception, so that every scenario puts its things away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"torture: seed {options.seed}, {os.cpu_count()} CPUs, Linux {platform.release()},"
          f" load {os.getloadavg()[0]:.1f}", flush=True)
    ran = {}
    for name in options.scenarios:
        ran[name] = run_scenario(name, options)
        print_row(name, *ran[name])
        write_results(options, {name: ran[name]})
    failed = [name for name, (_, good, _) in ran.items() if not good]
    print(f"seed {options.seed}: {len(ran) - len(failed)} hold, {len(failed)} do not"
          + (f": {', '.join(failed)}" if failed else ""))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
