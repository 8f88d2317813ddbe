# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The eight questions, as each store is asked them, and whether two answers are the same.

Records are what hosts report: a conversation between two of them is there twice. SQL, nfdump and
ClickHouse are asked about records. Reports of weir count every conversation once, which is more
work; what they should say is asked of the others with COUNTED_ONCE.
"""

import ipaddress

LIMIT = 20
HOST = "10.1.0.10"  # a web server
SUBNET = "10.1.2.0/24"
FLEET = "10.1.0.0/16"
RETRANS = "retrans_pkts+rev_retrans_pkts"


def clickhouse_net(column, net):
    """Addresses there are 16 bytes."""
    net = ipaddress.ip_network(net)
    first, last = (f"unhex('{'00' * 10}ffff{int(a):08x}')" for a in (net[0], net[-1]))
    return f"({column} >= toFixedString({first}, 16) AND {column} <= toFixedString({last}, 16))"


def clickhouse_addr(addr):
    return f"toFixedString(unhex('{'00' * 10}ffff{int(ipaddress.ip_address(addr)):08x}'), 16)"


# Of two hosts' records the one with the lower id, whose address is lower, too (also as text);
# conversations from outside have one record.
COUNTED_ONCE = {
    "rows": "(src_addr NOT GLOB '10.1.*' OR (role = 'client') = (src_addr < dst_addr))",
    "clickhouse": f"(NOT {clickhouse_net('src_addr', FLEET)}"
    " OR (role = 'client') = (src_addr < dst_addr))",
}


class Question:
    """by and value are SQL; where is by store, as each likes it best."""

    def __init__(self, name, meaning, **more):
        self.name, self.meaning = name, meaning
        self.by = more["by"]
        self.value = more.get("value", "sum(bytes + rev_bytes)")
        self.where = more.get("where", {})
        # Two reports, arguments and the columns to add up: of the question alone, and the
        # one that an operator types, with all that it shows.
        self.report = more["report"]
        self.whole = more["whole"]
        # What a report counts, if it is not value: a flow that lasts has several records.
        self.once_value = more.get("once_value", self.value)
        self.nfdump = more.get("nfdump")  # arguments
        self.tolerance = more.get("tolerance", {})

    def sql(self, store, table, once=False):
        columns = ", ".join(self.by)
        clauses = [self.where[store]] if store in self.where else []
        if once:
            clauses.append(COUNTED_ONCE[store])
        where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
        shown = columns
        if store == "clickhouse":
            shown = ", ".join(
                f"IPv6NumToString({c})" if c.endswith("_addr") else c for c in self.by
            )
        value = self.once_value if once else self.value
        if store == "clickhouse":
            value = value.replace("quantile(rtt_us, 0.95)", "quantileExact(0.95)(rtt_us)")
            value = value.replace("count(DISTINCT flow_id)", "uniqExact(flow_id)")
        return (
            f"SELECT {shown}, {value} AS value FROM {table}{where} GROUP BY {columns}"
            f" ORDER BY value DESC, {columns} LIMIT {LIMIT}"
        )


def everywhere(sql):
    return {store: sql for store in ("weir", "rows", "clickhouse")}


QUESTIONS = (
    Question(
        "top_src_bytes",
        "the 20 sources of most bytes, both directions",
        by=("src_addr",),
        report=(("top", "--by", "src_addr", "--show", "bytes"), "bytes"),
        whole=(("top", "--by", "src_addr"), "bytes"),
        nfdump=("-s", "srcip/bytes", "-o", "csv"),
    ),
    Question(
        "top_pairs",
        "the 20 pairs of most bytes, both directions",
        by=("src_addr", "dst_addr"),
        report=(("top", "--by", "src_addr,dst_addr", "--show", "bytes"), "bytes"),
        whole=(("top", "--by", "src_addr,dst_addr"), "bytes"),
        nfdump=("-A", "srcip,dstip", "-O", "bytes", "-6", "-o", "fmt:%sa %da %byt %obyt"),
    ),
    Question(
        "top_services",
        "the 20 services of most flows (SQL, nfdump, ClickHouse: of most records)",
        by=("dst_port", "proto"),
        value="count(*)",
        once_value="count(DISTINCT flow_id)",
        report=(("top", "--by", "dst_port,proto_name", "--show", "flows"), "flows"),
        whole=(("services", "--by", "dst_port,proto_name"), "flows"),
        nfdump=("-A", "dstport,proto", "-O", "flows", "-o", "fmt:%dp %pr %fl"),
    ),
    Question(
        "top_src_one_host",
        f"the 20 sources of most bytes that talk with {HOST}, or are it",
        by=("src_addr",),
        where={
            "weir": f"(src_addr = '{HOST}' OR dst_addr = '{HOST}')",
            "rows": f"(src_addr = '{HOST}' OR dst_addr = '{HOST}')",
            "clickhouse": f"(src_addr = {clickhouse_addr(HOST)}"
            f" OR dst_addr = {clickhouse_addr(HOST)})",
        },
        report=(("top", "--by", "src_addr", "--show", "bytes", f"host {HOST}"), "bytes"),
        whole=(("top", "--by", "src_addr", f"host {HOST}"), "bytes"),
        nfdump=("-s", "srcip/bytes", "-o", "csv", f"host {HOST}"),
    ),
    Question(
        "subnet_top",
        f"the 20 destinations of most bytes that {SUBNET} opened",
        by=("dst_addr",),
        where={
            "weir": f"in_prefix(src_addr, '{SUBNET}')",
            "rows": "src_addr GLOB '10.1.2.*'",
            "clickhouse": clickhouse_net("src_addr", SUBNET),
        },
        report=(("top", "--by", "dst_addr", "--show", "bytes", f"src net {SUBNET}"), "bytes"),
        whole=(("top", "--by", "dst_addr", f"src net {SUBNET}"), "bytes"),
        nfdump=("-s", "dstip/bytes", "-o", "csv", f"src net {SUBNET}"),
    ),
    Question(
        "latency_p95_by_service",
        "95 % of the handshakes to each port took at most (ClickHouse: one rank beside it)",
        by=("dst_port",),
        value="quantile(rtt_us, 0.95)",
        where={**everywhere("rtt_us IS NOT NULL"), "clickhouse": "rtt_us > 0"},
        report=(("top", "--by", "dst_port", "--show", "p95(rtt_us)"), "p95_rtt_us"),
        whole=(("latency", "--by", "dst_port"), "rtt_p95_us"),
        tolerance={"clickhouse": 0.01},
    ),
    Question(
        "retrans_by_pair",
        "the 20 pairs of most segments sent again",
        by=("src_addr", "dst_addr"),
        value="sum(retrans_pkts + rev_retrans_pkts)",
        where=everywhere("proto = 6"),
        report=(
            ("top", "--by", "src_addr,dst_addr", "--show", f"sum({RETRANS})", "tcp"),
            "sum_retrans_pkts_rev_retrans_pkts",
        ),
        whole=(("retrans",), RETRANS),
    ),
    Question(
        "scan_suspects",
        "the 20 sources of most connections that nobody answered",
        by=("src_addr",),
        value="count(*)",
        once_value="count(DISTINCT flow_id)",
        where=everywhere("tcp_flags = 2"),
        report=(("top", "--by", "src_addr", "--show", "flows", "tcp_flags = 2"), "flows"),
        whole=(("top", "--by", "src_addr", "tcp_flags = 2"), "flows"),
        nfdump=("-s", "srcip/flows", "-o", "csv", "proto tcp and flags S and not flags AFRPU"),
    ),
)


# --- answers: [((key, ...), value), ...], most first ---------------------------------


def clean_key(column, text):
    text = str(text)
    if column.endswith("_addr"):
        addr = ipaddress.ip_address(text)
        return str(getattr(addr, "ipv4_mapped", None) or addr)
    if column == "proto":
        return {"tcp": "6", "udp": "17"}.get(text.lower(), text)
    return text


def answer_of(question, rows):
    """rows: of keys and a value, as texts or numbers."""
    return [
        (tuple(clean_key(c, k) for c, k in zip(question.by, row)), int(float(row[-1])))
        for row in rows
    ]


def difference(question, store, got, expected):
    """None, or in words. Keys whose value is that of the last one may be others of the same value."""
    tolerance = question.tolerance.get(store, 0)
    if len(got) != len(expected):
        return f"{len(got)} rows, not {len(expected)}"
    for place, ((key, value), (_, right)) in enumerate(zip(got, expected)):
        if abs(value - right) > tolerance * right:
            return f"row {place + 1}, {' '.join(key)}: {value}, not {right}"
    if tolerance:
        return None
    last = expected[-1][1] if expected else 0
    ours = {key: value for key, value in got if value != last}
    theirs = {key: value for key, value in expected if value != last}
    if ours != theirs:
        return f"other keys: {sorted(set(ours.items()) ^ set(theirs.items()))[:3]}"
    return None
