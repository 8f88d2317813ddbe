# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Compares what was sent, as the senders and the kernel's interface counters tell, with what the
collector's database says. It shares no code with weir and reads the database as any user would.
"""

import json
import os
import subprocess

from lab import COLLECTOR, check


def query(db, sql):
    done = subprocess.run(
        [COLLECTOR, "sql", "--db", db, "--timeout", "300s", "-n", "0", "-o", "json", sql],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    check(done.returncode == 0, f"{sql}: {done.stderr.strip()}")
    return json.loads(done.stdout or "[]")


def number(db, sql):
    """The only value of the only row."""
    rows = query(db, sql)
    value = next(iter(rows[0].values())) if rows else None
    return int(value) if value is not None else 0


def by_port(db):
    rows = query(
        db,
        "SELECT src_port AS port, sum(packets) AS packets, sum(rev_packets) AS rev FROM flows"
        " WHERE proto = 17 GROUP BY 1",
    )
    return {int(r["port"]): int(r["packets"]) + int(r["rev"]) for r in rows}


def compare_ports(sent, stored):
    """Packets of flows that are not in the database, and that are in it too often."""
    lost = twice = 0
    for port in set(sent) | set(stored):
        difference = stored.get(port, 0) - sent.get(port, 0)
        lost += max(0, -difference)
        twice += max(0, difference)
    return lost, twice


def packets_recorded(db):
    return number(db, "SELECT coalesce(sum(packets + rev_packets), 0) FROM flows")


def loss(db):
    rows = query(
        db,
        "SELECT coalesce(sum(rows), 0) AS n, coalesce(sum(packets), 0) AS packets,"
        " coalesce(sum(bytes), 0) AS bytes, count(*) AS records FROM loss",
    )
    return {key: int(value) for key, value in rows[0].items()}


def doubled_records(db):
    """Records of one flow at one host whose running totals are the same: the same one twice."""
    return number(
        db,
        "SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM flows"
        " WHERE proto > 0 GROUP BY host, flow_id, start_ms, end_ms, total_packets,"
        " rev_total_packets, end_reason HAVING count(*) > 1)",
    )


def integrity(db):
    done = subprocess.run(
        ["sqlite3", "-readonly", db, "PRAGMA integrity_check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    check(done.stdout.strip() == "ok", f"integrity of {db}: {done.stdout} {done.stderr}")


def size_on_disk(*paths):
    return sum(os.stat(path).st_size for path in paths if os.path.exists(path))
