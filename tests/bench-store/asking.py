# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The questions, asked of all stores: answers first, times second."""

import time

import measure
import oracle
import questions
from stores import WeirSql, WeirWhole

WINDOW_HOST = ("host05", 5)
WINDOW_S = 300


def tell(text):
    print(text, flush=True)


def seconds(value):
    return f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


class Asking:
    """stores[0] is weir's. wrong: answers that differ from the others', in words."""

    def __init__(self, stores):
        self.stores = [stores[0], WeirWhole(stores[0]), WeirSql(stores[0]), *stores[1:]]
        # Whom the others are compared with: the fastest that can say everything.
        judges = [store for store in stores if hasattr(store, "reference")]
        self.judge = judges[-1] if judges else None
        self.wrong = []

    def all(self):
        """By question and store: cold_s, warm_s, peak_bytes; None where there is no answer."""
        tell("  seconds, cold / warm (cold: nothing of its files in memory)")
        tell("  " + " " * 23 + "".join(f"{store.label:>16}" for store in self.stores))
        answers = {}
        for question in questions.QUESTIONS:
            timed = answers[question.name] = {s.label: self._time(question, s) for s in self.stores}
            self._compare(question, timed)
            tell(f"  {question.name:23}" + "".join(self._cell(t) for t in timed.values()))
        return answers

    @staticmethod
    def _cell(figures):
        text = "-" if not figures else f"{seconds(figures['cold_s'])} / {seconds(figures['warm_s'])}"
        return f"{text:>16}"

    def _time(self, question, store):
        try:
            if store.command(question) is None:
                return None
            return measure.cold_and_warm(lambda: store.ask(question), store.files())
        except measure.TooSlow as error:
            tell(f"  {question.name}, {store.label}: {error}")
        except (RuntimeError, ValueError, KeyError) as error:
            self._is_wrong(question.name, store.label, str(error))
        return None

    def _compare(self, question, timed):
        plain = self.judge.reference(question) if self.judge else None
        for store, figures in timed.items():
            if not figures:
                continue
            answer, expected = figures.pop("answer"), plain
            if self.judge is None:
                continue
            if store in ("weir", "weir_whole"):
                expected = self.judge.reference(question, once=True)
            what = questions.difference(question, store, answer, expected)
            if what:
                self._is_wrong(question.name, store, what)

    def _is_wrong(self, question, store, what):
        self.wrong.append(f"{question}, {store}: {what}")
        tell(f"  WRONG: {self.wrong[-1]}")

    def window(self):
        """Five minutes of one host from the middle, warm: ms by weir's reports, SQL, and rows."""
        weir, whole, sql = self.stores[:3]
        first_ms, last_ms = (
            oracle.number(weir.db, f"SELECT {what} FROM flow_segment")
            for what in ("min(min_end_ms)", "max(max_end_ms)")
        )
        since_s = (first_ms + last_ms) // 2000
        name, host_id = WINDOW_HOST
        where = f"host_id = {host_id} AND end_ms >= {since_s * 1000}" \
                f" AND end_ms < {(since_s + WINDOW_S) * 1000}"
        question = questions.Question(
            "window_5min_host", "", by=("src_addr",), where={"weir": where, "rows": where},
            report=(("top", "--by", "src_addr", "--show", "bytes"), "bytes"),
            whole=(("top", "--by", "src_addr"), "bytes"),
        )
        times = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t))
                 for t in (since_s, since_s + WINDOW_S)]
        within = ("--until", times[1], f"host {name}")
        commands = {
            weir: weir.report(*question.report[0], *within, since=times[0]),
            whole: weir.report(*question.whole[0], *within, since=times[0]),
            sql: sql.command(question),
        }
        for store in self.stores:
            if store.label == "rows":
                commands[store] = store.command(question)
        figures, answers = {}, {}
        for store, command in commands.items():
            ran = [measure.run(command, store.bench.options.limit) for _ in range(5)]
            figures[store.label] = sorted(r.seconds for r in ran)[2] * 1000
            answers[store.label] = questions.answer_of(question, store.rows(question, ran[0].stdout))
        for label in figures:  # one host reports a conversation once
            what = questions.difference(question, label, answers[label], answers["weir_sql"])
            if what:
                self._is_wrong(question.name, label, what)
        return figures
