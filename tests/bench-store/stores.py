# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The stores beside each other: each is filled with the same fleet and asked the same questions."""

import json
import os
import re
import shutil

import measure
import questions
from lab import BUILD, COLLECTOR, check, wait_until

FILL = f"{BUILD}/weir-fill"
PEERS = f"{BUILD}/weir-peers"
EXTENSION = f"{BUILD}/weir_flows"
MAKE_LIMIT_S = 3600


def account_of(ran):
    """What weir-peers says at its end."""
    return json.loads(ran.stderr.splitlines()[-1])


class Store:
    """One of them, with n records of a fleet."""

    label = ""

    def __init__(self, bench, n):
        self.bench, self.n = bench, n
        self.path = f"{bench.lab.work}/{self.label}-{n}"
        self.fleet = ("--flows", str(n), "--seed", str(bench.options.seed))

    @staticmethod
    def missing():
        """What has to be installed for it, or None."""
        return None

    def files(self):
        return (self.path,)

    def server_peak(self):
        """Of what answers, if that is not the command."""
        return 0

    def remove(self):
        if os.path.isdir(self.path):
            shutil.rmtree(self.path)

    def ask(self, question):
        """None if it cannot say; else (answer, seconds, peak of memory)."""
        command = self.command(question)
        if command is None:
            return None
        ran = measure.run(command, self.bench.options.limit)
        answer = questions.answer_of(question, self.rows(question, ran.stdout))
        return answer, self.seconds(ran), max(ran.peak_bytes, self.server_peak())

    @staticmethod
    def seconds(ran):
        return ran.seconds


class WeirStore(Store):
    """Filled without a network; asked by reports, or by SQL (class WeirSql)."""

    label = "weir"

    def __init__(self, bench, n):
        super().__init__(bench, n)
        self.db = f"{self.path}/weir.db"

    def make(self):
        os.makedirs(self.path)
        ran = measure.run((FILL, "--db", self.db, *self.fleet), MAKE_LIMIT_S)
        self.records = int(ran.stdout.split()[0])
        return {"bytes_per_flow": measure.size_of(self.db) / self.records}

    @staticmethod
    def asked(question):
        return question.report

    def command(self, question):
        arguments, _ = self.asked(question)
        return self.report(*arguments)

    def report(self, name, *arguments, since="2026-01-01T00:00:00Z"):
        return (
            *(COLLECTOR, "report", name, "--db", self.db, "--since", since),
            *("-n", str(questions.LIMIT), "-o", "json", "-N", "-q", *arguments),
        )

    def rows(self, question, stdout):
        _, columns = self.asked(question)
        by = ["proto_name" if c == "proto" else c for c in question.by]
        for row in json.loads(stdout):
            if str(row[by[0]]).startswith("("):  # (other), (total)
                continue
            values = [row[name] for name in columns.split("+")]
            value = sum(v or 0 for v in values)
            # Groups without a value or a flow come last; other stores do not name them.
            if values != [None] and (columns != "flows" or value):
                yield [*(row[c] for c in by), value]


class WeirWhole(WeirStore):
    """The same store, asked for reports with all that they show."""

    label = "weir_whole"

    def __init__(self, weir):
        super().__init__(weir.bench, weir.n)
        self.path, self.db = weir.path, weir.db

    @staticmethod
    def asked(question):
        return question.whole


class WeirSql(Store):
    label = "weir_sql"

    def __init__(self, weir):
        super().__init__(weir.bench, weir.n)
        self.path, self.db = weir.path, weir.db

    def command(self, question):
        return self.sql(question.sql("weir", "flows"))

    def sql(self, statement):
        return (
            *(COLLECTOR, "sql", "--db", self.db, "--timeout", f"{self.bench.options.limit}s"),
            *("-n", "0", "-o", "json", "-q", statement),
        )

    def rows(self, question, stdout):
        return [list(row.values()) for row in json.loads(stdout)]


class RowStore(Store):
    """A plain table of SQLite. weir's extension brings quantile(), which SQLite has not."""

    label = "rows"

    def __init__(self, bench, n):
        super().__init__(bench, n)
        self.db = f"{self.path}/rows.db"

    @staticmethod
    def missing():
        return None if shutil.which("sqlite3") else "sqlite3"

    def make(self):
        os.makedirs(self.path)
        ran = measure.run((PEERS, "--as", "rows", "--to", self.db, *self.fleet), MAKE_LIMIT_S)
        account = account_of(ran)
        self.records = account["records"]
        return {
            "bytes_per_flow": measure.size_of(self.path) / self.records,
            "insert_flows_per_s": round(self.records / account["wall_s"]),
            "insert_cpu_us_per_flow": account["cpu_s"] / self.records * 1e6,
        }

    def command(self, question):
        return self.sql(question.sql("rows", "flow"))

    def sql(self, statement):
        return ("sqlite3", "-readonly", "-list", "-cmd", f".load {EXTENSION}", self.db, statement)

    def rows(self, question, stdout):
        return [line.split("|") for line in stdout.splitlines()]

    def reference(self, question, once=False):
        """The right answer, without a limit of time that matters."""
        command = self.sql(question.sql("rows", "flow", once))
        return questions.answer_of(question, self.rows(question, measure.run(command, 1200).stdout))


class Nfdump(Store):
    """nfcapd gets IPFIX over UDP, as fast as it takes it without losing any."""

    label = "nfdump"
    PORT = 9995
    PER_SECOND = 500000
    ATTEMPTS = 4

    @staticmethod
    def missing():
        return None if shutil.which("nfcapd") and shutil.which("nfdump") else "nfdump"

    def make(self):
        pace = self.PER_SECOND
        for _ in range(self.ATTEMPTS):
            figures = self.receive(pace)
            if self.stored() == self.records:
                return figures
            pace //= 2
            self.remove()
        check(False, f"nfcapd loses flows even at {pace * 2}/s")

    def receive(self, pace):
        os.makedirs(self.path)
        lab = self.bench.lab
        daemon = lab.start(
            f"nfcapd-{self.n}-{pace}",
            *("nfcapd", "-w", self.path, "-b", "127.0.0.1", "-p", str(self.PORT)),
            *("-y", "-t", "3600", "-B", "4000000"),
            host="c",
        )
        # "00000000:0000 07": a socket of UDP that is bound, by the kernel's own list
        bound = f"0100007F:{self.PORT:04X}"
        wait_until("nfcapd listens", 30, lambda: bound in lab.run("cat", "/proc/net/udp", host="c").stdout)
        before_s = daemon.cpu_s()
        ran = measure.run(
            (
                *("nsenter", f"--net={lab.netns('c')}", "--", PEERS, "--as", "ipfix"),
                *("--to", f"127.0.0.1:{self.PORT}", "--per-second", str(pace), *self.fleet),
            ),
            MAKE_LIMIT_S,
        )
        self.records = account_of(ran)["records"]
        self.wait_idle(daemon)
        cpu_s = daemon.cpu_s() - before_s
        check(daemon.stop() == 0, "nfcapd did not end well")
        return {
            "bytes_per_flow": measure.size_of(self.path) / self.records,
            "cpu_us_per_flow": cpu_s / self.records * 1e6,
            "sent_per_s": pace,
        }

    @staticmethod
    def wait_idle(daemon):
        """What the socket still holds is read when it takes no more time."""
        last = [-1.0]

        def idle():
            before, last[0] = last[0], daemon.cpu_s()
            return before == last[0]

        wait_until("nfcapd has read all", 60, idle, every=0.5)

    def stored(self):
        ran = measure.run(("nfdump", "-R", self.path, "-I"), self.bench.options.limit)
        return int(re.search(r"^Flows: (\d+)", ran.stdout, re.M).group(1))

    def command(self, question):
        if not question.nfdump:
            return None
        return ("nfdump", "-R", self.path, "-q", "-N", "-n", str(questions.LIMIT), *question.nfdump)

    def rows(self, question, stdout):
        lines = [line for line in stdout.splitlines() if line.strip()]
        if "csv" not in question.nfdump:  # keys, then what makes up the value
            n = len(question.by)
            return [[*line.split()[:n], sum(map(int, line.split()[n:]))] for line in lines]
        head = lines[0].split(",")
        value = head.index("fl" if "flows" in question.nfdump[1] else
                           "byt" if "byt" in head else "ibyt")
        return [[line.split(",")[head.index("val")], line.split(",")[value]] for line in lines[1:]]


CLICKHOUSE_CONFIG = """<yandex>
  <logger><level>warning</level><console>1</console></logger>
  <listen_host>127.0.0.1</listen_host><tcp_port>{port}</tcp_port>
  <path>{path}/</path><tmp_path>{path}/tmp/</tmp_path>
  <user_files_path>{path}/user_files/</user_files_path>
  <format_schema_path>{path}/format_schemas/</format_schema_path>
  <mark_cache_size>1073741824</mark_cache_size>
  <users_config>{path}/users.xml</users_config>
  <default_profile>default</default_profile><default_database>default</default_database>
  <timezone>UTC</timezone>
</yandex>
"""
CLICKHOUSE_USERS = """<yandex>
  <profiles><default><max_memory_usage>10000000000</max_memory_usage></default></profiles>
  <users><default><password></password><networks><ip>127.0.0.1</ip></networks>
    <profile>default</profile><quota>default</quota></default></users>
  <quotas><default></default></quotas>
</yandex>
"""


class Clickhouse(Store):
    """A server of its own, on the loopback of the bench's network namespace."""

    label = "clickhouse"
    PORT = 19000

    @staticmethod
    def missing():
        both = shutil.which("clickhouse-server") and shutil.which("clickhouse-client")
        return None if both else "clickhouse-server and clickhouse-client"

    def client(self, statement):
        return (
            *("nsenter", f"--net={self.bench.lab.netns('c')}", "--", "clickhouse-client"),
            *("--port", str(self.PORT), "--time", "-q", statement),
        )

    def start(self):
        os.makedirs(self.path)
        config = f"{self.path}/config.xml"
        for name, text in (("config", CLICKHOUSE_CONFIG), ("users", CLICKHOUSE_USERS)):
            with open(f"{self.path}/{name}.xml", "w", encoding="ascii") as f:
                f.write(text.format(path=self.path, port=self.PORT))
        self.server = self.bench.lab.start(
            f"clickhouse-{self.n}", "clickhouse-server", f"--config-file={config}", host="c"
        )
        wait_until("clickhouse-server answers", 120, self.answers)

    def answers(self):
        check(self.server.alive(), "clickhouse-server has ended")
        try:
            return measure.run(self.client("SELECT 1"), 10).stdout.strip() == "1"
        except (RuntimeError, measure.TooSlow):
            return False

    def make(self):
        self.start()
        table = measure.run((PEERS, "--as", "clickhouse-table"), 60).stdout
        measure.run(self.client(table), 60)
        self.load()
        measure.run(self.client("OPTIMIZE TABLE flow FINAL"), MAKE_LIMIT_S)
        self.records = int(self.number("SELECT count() FROM flow"))
        size = self.number("SELECT sum(bytes_on_disk) FROM system.parts"
                           " WHERE active AND table = 'flow'")
        return {"bytes_per_flow": size / self.records}

    def load(self):
        reader, writer = os.pipe()
        feed = self.bench.lab.start(
            f"peers-{self.n}", PEERS, "--as", "clickhouse", *self.fleet, stdout=writer
        )
        os.close(writer)
        with os.fdopen(reader, "rb") as rows:
            measure.run(
                self.client("INSERT INTO flow FORMAT RowBinary"), MAKE_LIMIT_S, stdin=rows
            )
        check(feed.popen.wait(60) == 0, f"weir-peers has failed: {feed.output()}")

    def number(self, statement):
        return float(measure.run(self.client(statement), self.bench.options.limit).stdout)

    def files(self):
        measure.run(self.client("SYSTEM DROP MARK CACHE"), 60)
        return (self.path,)

    def command(self, question):
        return self.client(question.sql("clickhouse", "flow"))

    @staticmethod
    def seconds(ran):
        """By its own clock: without the start of the client."""
        return float(ran.stderr.splitlines()[-1])

    def rows(self, question, stdout):
        return [line.split("\t") for line in stdout.splitlines()]

    def reference(self, question, once=False):
        """The rank that weir and SQLite take, too, which costs more."""
        statement = question.sql("clickhouse", "flow", once).replace(
            "quantileExact(0.95)(rtt_us)",
            "arraySort(groupArray(rtt_us))[toUInt32(ceil(0.95 * count()))]",
        )
        ran = measure.run(self.client(statement), 1200)
        return questions.answer_of(question, self.rows(question, ran.stdout))

    def server_peak(self):
        return self.server.rss_bytes()

    def remove(self):
        if hasattr(self, "server"):
            self.server.kill()  # 18.16 crashes when it is asked to end
        super().remove()


PEER_STORES = (RowStore, Nfdump, Clickhouse)
