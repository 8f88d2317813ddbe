# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""kill -9 of the collector while it makes segments of what a fleet sends.

At random moments, and at each FAILPOINT() between reading fresh batches and the commit that puts a
segment in their place. First a fleet whose batches are of a single flow, with small segments, so
that the last one is made new again and again; then one that fills segments of the usual size.
"""

import time

import oracle
from lab import BUILD, Lab, check, wait_until
from scenario_failpoints import find_points, is_of_compaction
from weir import Weir

KILLS = 200
TIMES = (1, 2, 3)  # that a point is passed before the end
DIES_WITHIN_S = 120


class Fleet:
    """Probes first to first + n - 1, which send batches of so many flows."""

    def __init__(self, name, first, n, rows, rate, env):
        self.name, self.first, self.n, self.rows, self.rate = name, first, n, rows, rate
        self.env = env  # of the collector

    def start(self, weir):
        self.bench = weir.bench(
            *("--first", str(self.first), "--probes", str(self.n), "--rows", str(self.rows)),
            *("--rate", str(self.rate), "--window", "32", "--seconds", "3600"),
            keys=self.keys,
            name=self.name,
        )

    def end(self, weir):
        self.bench.popen.terminate()  # it sends nothing new, and waits for what it has sent
        self.result = weir.bench_result(self.bench)
        check(self.result["unsettled"] == 0, f"{self.name}: batches were never acknowledged")

    def batches(self, db):
        """All of them, and those that are not there once, whole: a flow's id has the number of
        its row in the low 12 bits, and those of the batch and of the probe above."""
        rows = self.rows
        got = oracle.query(
            db,
            "SELECT count(*) AS batches, coalesce(sum(n), 0) AS flows,"
            f" coalesce(sum(n < {rows}), 0) AS short, coalesce(sum(n > {rows}), 0) AS long,"
            f" coalesce(sum(n = {rows} AND (s <> {rows * (rows - 1) // 2}"
            f" OR q <> {(rows - 1) * rows * (2 * rows - 1) // 6})), 0) AS mixed"
            " FROM (SELECT count(*) AS n, sum(flow_id & 4095) AS s,"
            " sum((flow_id & 4095) * (flow_id & 4095)) AS q FROM flows"
            f" WHERE flow_id >> 42 BETWEEN {self.first + 1} AND {self.first + self.n}"
            " GROUP BY flow_id >> 12)",
        )[0]
        return {key: int(value) for key, value in got.items()}

    def compare(self, db):
        """Flows lost and flows that are there twice; at least."""
        got, acked = self.batches(db), self.result["batches_acked"]
        lost = max(0, acked - got["batches"]) * self.rows + got["short"] + got["mixed"]
        twice = max(0, got["batches"] - acked) * self.rows + got["long"] + got["mixed"]
        if lost == twice == 0:
            check(got["flows"] == self.result["flows_acked"], f"{self.name}: {got}")
        return lost, twice


class Collector:
    """Started, and killed, over and over."""

    def __init__(self, weir, rng):
        self.weir, self.rng = weir, rng
        self.kills = self.at_points = 0
        self.env = {}

    def start(self, point=None):
        env = {**self.env, **({"WEIR_FAILPOINT": point} if point else {})}
        self.weir.build = f"{BUILD}-failpoints" if env else BUILD
        return self.weir.start_collector(env=env)

    def killed_sometime(self):
        """Most times it is at work by then, else it is about to start."""
        program = self.start()
        if self.rng.random() < 0.9:
            self.weir.collector_ready(program, every=0.02)
        time.sleep(self.rng.uniform(0, 0.5))
        check(program.kill(), f"the collector has ended: {program.output()[-500:]}")
        self.kills += 1

    def ends_at(self, point, times):
        program = self.start(f"{point}:{times}")
        wait_until(
            f"the collector comes to {point} for the {times}. time",
            DIES_WITHIN_S,
            lambda: not program.alive(),
            every=0.02,
        )
        check(program.kill(), f"it ended before {point}: {program.output()[-500:]}")
        self.kills += 1
        self.at_points += 1


def plan(rng, wanted, rolls):
    """When the collector ends: at a point, or None: sometime. rolls: there are whole segments."""
    points = [p for p in find_points("collector") if is_of_compaction(p)]
    deaths = [(p, n) for p in points for n in TIMES if p.startswith("segment_")]
    deaths += [(p, 1) for p in points for _ in TIMES if rolls and p.startswith("rollup_")]
    deaths += [None] * max(0, wanted - len(deaths))
    rng.shuffle(deaths)
    return deaths, len(points)


def not_rolled_up(db):
    """Flows less, or more, in the rollups and in what they do not have yet; and in how many they are."""
    waiting = (
        "(SELECT coalesce(sum(n_rows), 0) FROM flow_fresh) + (SELECT coalesce(sum(n_rows), 0)"
        " FROM flow_segment WHERE id > (SELECT segment_id FROM rollup_state))"
    )
    flows = oracle.number(db, "SELECT count(*) FROM flows")
    rolled = [
        oracle.number(db, f"SELECT coalesce(sum(records), 0) FROM {table}")
        for table in ("rollup_minute", "rollup_hour")
    ]
    return max(abs(n + oracle.number(db, f"SELECT {waiting}") - flows) for n in rolled), rolled[0]


def run(rng, options):
    wanted = options.kills or (1000 if options.long else KILLS)
    small = {"WEIR_SEGMENT_ROWS": "3000", "WEIR_SEGMENT_BATCHES": "50"}
    fleets = (Fleet("small", 0, 12, 1, 4_000, small), Fleet("large", 12, 12, 512, 200_000, {}))
    with Lab("compaction", rng) as lab:
        lab.host("c")
        weir = Weir(lab)
        weir.url = "tcp://127.0.0.1:7441"
        for fleet in fleets:
            fleet.keys = weir.make_keys(fleet.n, fleet.name)
        collector = Collector(weir, rng)
        points = 0
        for fleet in fleets:
            collector.env = fleet.env
            fleet.start(weir)
            deaths, points = plan(rng, wanted // len(fleets), not fleet.env)
            for death in deaths:
                if death:
                    collector.ends_at(*death)
                else:
                    collector.killed_sometime()
            program = weir.collector_ready(collector.start())
            fleet.end(weir)
            check(program.stop() == 0, "the collector did not end well")
        oracle.integrity(weir.db)
        rollup_error, rolled_up = not_rolled_up(weir.db)
        differences = [fleet.compare(weir.db) for fleet in fleets]
        return {
            "compaction_kills": collector.kills,
            "at_points": collector.at_points,
            "points": points,
            **{f"flows_{f.name}": f.result["flows_acked"] for f in fleets},
            "batches_resent": sum(f.result["batches_resent"] for f in fleets),
            "segments": oracle.number(weir.db, "SELECT count(*) FROM flow_segment"),
            "segments_made": oracle.number(weir.db, "SELECT max(id) FROM flow_segment"),
            "flows_rolled_up": rolled_up,
            "rollup_error": rollup_error,
            "lost": sum(lost for lost, _ in differences),
            "twice": sum(twice for _, twice in differences),
        }


def holds(r, options):
    return (
        r["compaction_kills"] >= (options.kills or KILLS)
        and r["points"] > 6
        and r["segments_made"] > r["segments"] > 10
        and r["flows_rolled_up"] > 0
        and r["lost"] == r["twice"] == r["rollup_error"] == 0
    )
