// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * reports.c - random reports, as the command line gives them, against SQL over
 * plain rows: the records of the window and the filter, less those of
 * conversations that another host tells too, then groups.
 */
#include "tests/property/reports.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "collector/filter/filter.h"
#include "collector/filter/filter_tree.h"
#include "collector/once/once.h"
#include "collector/report/report.h"
#include "collector/sqlite/query.h"
#include "common/array_size.h"
#include "proto/flow_words.h"
#include "tests/property/choices.h"
#include "tests/property/data.h"
#include "tests/property/need.h"
#include "tests/property/queries.h"
#include "tests/property/row_table.h"
#include "tests/unit/traffic_sql.h"

#define MAX_BY	 3
#define MAX_SHOW 5
#define MAX_ARGS 24

/* A report, and what it is in SQL. NULL keys: any columns; "": it takes none. */
struct report {
	const char *name, *keys;
	const char *measures, *where, *order; /* NULL: chosen, for top */
	const char *group;		      /* "": by the keys */
	const char *from;		      /* "": traffic */
};

#define FLOWS "count(DISTINCT host_id || ' ' || flow_id)"
#define ENDED " AND end_reason <> 'active')"

static const struct report reports[] = {
	{"top", NULL, NULL, "1", NULL, "", "traffic"},
	{"latency", "host src_addr dst_addr dst_port iface process",
	 "count(rtt_us) AS a, quantile(rtt_us, 0.5), quantile(rtt_us, 0.95) AS b,"
	 " quantile(rtt_us, 0.99), max(rtt_us), quantile(data_rtt_avg_us, 0.95),"
	 " quantile(response_avg_us, 0.95)",
	 "rtt_us IS NOT NULL OR data_rtt_samples > 0", "b DESC, a DESC", "", "traffic"},
	{"services", "dst_addr dst_port proto_name host process iface vlan",
	 "count(DISTINCT src_addr), " FLOWS " AS a, sum(bytes + rev_bytes) AS b,"
	 " sum(ifnull(verdict, '') = 'refused'" ENDED
	 ", sum(ifnull(verdict, '') IN ('syn_unanswered', 'half_open')" ENDED
	 ", sum(ifnull(verdict, '') = 'reset'" ENDED ", quantile(rtt_us, 0.95),"
	 " quantile(response_avg_us, 0.95), 100.0 * sum(retrans_pkts + rev_retrans_pkts)"
	 " / nullif(sum(iif(proto = 6, packets + rev_packets, 0)), 0)",
	 "dst_port > 0", "a DESC, b DESC", "", "traffic"},
	{"dns", "dns_qname dns_qtype dns_rcode host src_addr dst_addr process",
	 "sum(dns_queries) AS a, sum(dns_unanswered) AS b,"
	 " 100.0 * sum(dns_unanswered) / sum(dns_queries),"
	 " sum(dns_rcode NOT IN ('NOERROR', 'NXDOMAIN')), quantile(dns_latency_us, 0.5),"
	 " quantile(dns_latency_us, 0.95), max(dns_latency_us)",
	 "dns_queries > 0", "a DESC, b DESC", "", "traffic"},
	{"tls", "tls_sni tls_alpn host src_addr dst_addr dst_port process quic_version",
	 FLOWS " AS a, count(DISTINCT src_addr), sum(bytes + rev_bytes) AS b,"
	       " count(DISTINCT dst_addr), quantile(rtt_us, 0.95),"
	       " quantile(response_avg_us, 0.95)",
	 "tls_sni IS NOT NULL", "a DESC, b DESC", "", "traffic"},
	{"retrans", "",
	 "sum(packets), sum(retrans_pkts), 100.0 * sum(retrans_pkts) / sum(packets),"
	 " sum(rev_packets), sum(rev_retrans_pkts),"
	 " 100.0 * sum(rev_retrans_pkts) / sum(rev_packets), sum(kernel_retrans_pkts)",
	 "proto = 6", "sum(retrans_pkts + rev_retrans_pkts) DESC", "src_addr, dst_addr", "traffic"},
	{"protocols", "",
	 "sum(bytes + rev_bytes) AS a, sum(packets + rev_packets), " FLOWS
	 ", 100.0 * sum(bytes + rev_bytes) / (SELECT sum(bytes + rev_bytes) FROM traffic)",
	 "1", "a DESC", "proto_name, ip_version", "traffic"},
	{"matrix", "", "sum(bytes) AS a, sum(packets), " FLOWS, "1", "a DESC", "src, dst",
	 "(SELECT src_addr AS src, dst_addr AS dst, bytes, packets, host_id, flow_id"
	 " FROM traffic WHERE packets > 0 UNION ALL SELECT dst_addr, src_addr, rev_bytes,"
	 " rev_packets, host_id, flow_id FROM traffic WHERE rev_packets > 0)"},
};

/* What report top shows, in its words and in SQL. */
struct shown {
	const char *word, *sql;
	bool adds_up; /* over groups: for the rows (other) and (total) */
};
static const struct shown shown[] = {
	{"bytes", "sum(bytes + rev_bytes)", true},
	{"packets", "sum(packets + rev_packets)", true},
	{"flows", FLOWS, true},
	{"records", "count(*)", true},
	{"sum(retrans_pkts+rev_retrans_pkts)", "sum(retrans_pkts + rev_retrans_pkts)", true},
	{"sum(rtt_us)", "sum(rtt_us)", true},
	{"count(rtt_us)", "count(rtt_us)", true},
	{"count(process)", "count(process)", true},
	{"max(rtt_us)", "max(rtt_us)", false},
	{"min(dst_port)", "min(dst_port)", false},
	{"max(end_ms)", "max(end_ms)", false},
	{"p95(rtt_us)", "quantile(rtt_us, 0.95)", false},
	{"p50(duration_us)", "quantile(duration_us, 0.5)", false},
	{"p99(data_rtt_avg_us)", "quantile(data_rtt_avg_us, 0.99)", false},
	{"distinct(src_addr)", "count(DISTINCT src_addr)", false},
	{"distinct(tls_sni)", "count(DISTINCT tls_sni)", false},
	{"distinct(dst_port)", "count(DISTINCT dst_port)", false},
	{"distinct(verdict)", "count(DISTINCT verdict)", false},
	/* Reals stand behind what can be ordered by. */
	{"avg(packets)", "avg(packets)", false},
	{"avg(rtt_us)", "avg(rtt_us)", false},
	{"share", "100.0 * sum(bytes + rev_bytes) / (SELECT sum(bytes + rev_bytes) FROM traffic)",
	 false},
};
#define N_ORDERED 18

/* The same question twice: as arguments, and as SQL. */
struct asking {
	struct choices *c;
	const struct report *report;
	struct row_table *values;
	size_t by[MAX_BY], n_by; /* columns of flows */
	const struct shown *show[MAX_SHOW];
	size_t n_show, order;
	uint32_t limit;
	int64_t since_ms, until_ms;
	char *filter;
};

/* --- choosing ------------------------------------------------------------------------- */

static bool is_word_of(const char *name, const char *words)
{
	size_t len = strlen(name);

	for (const char *w = strstr(words, name); w; w = strstr(w + 1, name))
		if ((w == words || w[-1] == ' ') && (w[len] == ' ' || !w[len]))
			return true;
	return false;
}

static bool may_be_key(const struct report *r, const struct flows_column *c)
{
	if (!r->keys)
		return c->kind != FLOWS_HIST && c->kind != FLOWS_COMMUNITY_ID;
	return is_word_of(c->name, r->keys);
}

static void choose_keys(struct asking *a)
{
	size_t n, wanted = 1 + choose(a->c, MAX_BY);
	const struct flows_column *columns = flows_columns(&n);

	for (int tries = 0; a->n_by < wanted && tries < 100; tries++) {
		size_t column = choose(a->c, (uint32_t)n);
		bool again = false;

		/* Skips to one that the report takes. */
		for (size_t i = 0; i < n && !may_be_key(a->report, &columns[column]); i++)
			column = (column + 1) % n;
		for (size_t i = 0; i < a->n_by; i++)
			again |= a->by[i] == column;
		if (!again)
			a->by[a->n_by++] = column;
	}
}

static void choose_show(struct asking *a)
{
	a->n_show = 1 + choose(a->c, MAX_SHOW);
	for (size_t i = 0; i < a->n_show; i++)
		a->show[i] = &shown[choose(a->c, i ? ARRAY_SIZE(shown) : N_ORDERED)];
	a->order = choose(a->c, (uint32_t)a->n_show);
	if (a->show[a->order] >= shown + N_ORDERED)
		a->order = 0;
}

/* The second in which a record ended, or none. */
static int64_t choose_time(struct asking *a)
{
	size_t n, rows = row_table_rows(a->values), column = 0;
	const struct flows_column *columns = flows_columns(&n);

	while (strcmp(columns[column].name, "end_ms") != 0)
		column++;
	if (choose(a->c, 3) < 2 || rows == 0)
		return INT64_MIN;
	return strtoll(row_table_value(a->values, column, choose(a->c, (uint32_t)rows)), NULL, 10) /
	       1000 * 1000;
}

static void choose_all(struct asking *a)
{
	a->report = &reports[choose(a->c, 2) ? choose(a->c, ARRAY_SIZE(reports)) : 0];
	if (!a->report->keys || a->report->keys[0])
		choose_keys(a);
	if (!a->report->keys)
		choose_show(a);
	a->limit = choose(a->c, 4) ? choose(a->c, 30) : 0;
	a->since_ms = choose_time(a);
	a->until_ms = choose_time(a);
	a->filter = choose(a->c, 2) ? random_filter(a->c, a->values) : sqlite3_mprintf("%s", "");
	need(a->filter != NULL, "memory");
}

/* --- as arguments ---------------------------------------------------------------------- */

static char *time_text(int64_t ms)
{
	time_t s = (time_t)(ms / 1000);
	char text[32];
	struct tm tm;

	(void)gmtime_r(&s, &tm); /* in range */
	(void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	return sqlite3_mprintf("%s", ms == INT64_MIN ? "2001-01-01" : text);
}

static char *names_of(const struct asking *a, bool by)
{
	sqlite3_str *text = sqlite3_str_new(NULL);
	size_t n;
	const struct flows_column *columns = flows_columns(&n);

	for (size_t i = 0; by && i < a->n_by; i++)
		sqlite3_str_appendf(text, "%s%s", i ? "," : "", columns[a->by[i]].name);
	for (size_t i = 0; !by && i < a->n_show; i++)
		sqlite3_str_appendf(text, "%s%s", i ? "," : "", a->show[i]->word);
	return sqlite3_str_finish(text);
}

/* All of them for sqlite3_free(). */
static int make_arguments(const struct asking *a, const char *path, char *argv[MAX_ARGS])
{
	int n = 0;

	argv[n++] = sqlite3_mprintf("report");
	argv[n++] = sqlite3_mprintf("%s", a->report->name);
	argv[n++] = sqlite3_mprintf("--db=%s", path);
	argv[n++] = sqlite3_mprintf("-q");
	argv[n++] = sqlite3_mprintf("-o");
	argv[n++] = sqlite3_mprintf("json");
	argv[n++] = sqlite3_mprintf("--limit=%u", a->limit);
	argv[n++] = sqlite3_mprintf("--since");
	argv[n++] = time_text(a->since_ms);
	if (a->until_ms != INT64_MIN) {
		argv[n++] = sqlite3_mprintf("--until");
		argv[n++] = time_text(a->until_ms);
	}
	if (a->n_by) {
		argv[n++] = sqlite3_mprintf("--by");
		argv[n++] = names_of(a, true);
	}
	if (a->n_show) {
		argv[n++] = sqlite3_mprintf("--show");
		argv[n++] = names_of(a, false);
		argv[n++] = sqlite3_mprintf("--order");
		argv[n++] = sqlite3_mprintf("%s", a->show[a->order]->word);
	}
	if (a->filter[0])
		argv[n++] = sqlite3_mprintf("%s", a->filter);
	argv[n] = NULL;
	return n;
}

static char *joined(int argc, char *const *argv)
{
	sqlite3_str *text = sqlite3_str_new(NULL);

	for (int i = 0; i < argc; i++)
		if (strncmp(argv[i], "--db=", 5) != 0)
			sqlite3_str_appendf(text, strchr(argv[i], ' ') ? "'%s' " : "%s ", argv[i]);
	return sqlite3_str_finish(text);
}

/* What the command prints, for free(); NULL: it fails. */
static char *run_command(int argc, char **argv)
{
	FILE *out = tmpfile();
	int saved[2] = {dup(1), dup(2)}, null = open("/dev/null", O_WRONLY | O_CLOEXEC), code;
	char *text;
	long size;

	need(out && null >= 0 && saved[0] >= 0 && saved[1] >= 0, "files");
	(void)fflush(stdout); /* what is ours goes out before */
	need(dup2(fileno(out), 1) >= 0 && dup2(null, 2) >= 0, "dup2");
	code = cli_run(&report_command, argc, argv);
	(void)fflush(stdout); /* into the file */
	need(dup2(saved[0], 1) >= 0 && dup2(saved[1], 2) >= 0, "dup2");
	(void)close(saved[0]);
	(void)close(saved[1]);
	(void)close(null);
	need(fseek(out, 0, SEEK_END) == 0 && (size = ftell(out)) >= 0, "seek");
	text = calloc(1, (size_t)size + 1);
	need(text != NULL, "memory");
	rewind(out);
	need(fread(text, 1, (size_t)size, out) == (size_t)size, "read");
	(void)fclose(out); /* was read */
	if (code != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* Its rows, by SQLite: an array for each object. */
static void rows_of_json(sqlite3 *db, const char *json, struct answer *ret)
{
	sqlite3_stmt *st = NULL;

	*ret = (struct answer){0};
	if (!json) {
		ret->error = strdup("an error");
		return;
	}
	need(sqlite3_prepare_v2(db,
				"SELECT (SELECT group_concat(CASE type WHEN 'null' THEN 'NULL'"
				" WHEN 'text' THEN quote(atom) WHEN 'real' THEN '~' || "
				"printf('%.16g', atom) ELSE atom END, char(9))"
				" FROM json_each(o.value)) FROM json_each(?) o",
				-1, &st, NULL) == SQLITE_OK,
	     sqlite3_errmsg(db));
	need(sqlite3_bind_text(st, 1, json, -1, SQLITE_STATIC) == SQLITE_OK, "bind");
	answer_of_lines(st, ret);
}

/* --- as SQL ------------------------------------------------------------------------------- */

#define TEXT_OF(x)  TEXT_OF_(x)
#define TEXT_OF_(x) #x

/* Each conversation once, where no host has told its addresses: once/once.h. */
static const char traffic_sql[] =
	"CREATE TEMP TABLE traffic AS SELECT f.*,"
	" max(ifnull(lag(f.end_ms) OVER (PARTITION BY f.host_id, f.flow_id ORDER BY f.end_ms),"
	"            f.start_ms), ?%u) AS from_ms, f.end_ms AS to_ms,"
	" f.direction = 'egress' AS sent," TRAFFIC_CONVERSATION
	" FROM flows f WHERE end_ms >= ?%u AND end_ms < ?%u AND ";

static void make_traffic(const struct asking *a, sqlite3 *db)
{
	struct filter_tree *tree = NULL;
	struct filter_error error;
	sqlite3_stmt *st = NULL;
	struct query q;

	need(sqlite3_exec(db, "DROP TABLE IF EXISTS traffic", NULL, NULL, NULL) == SQLITE_OK,
	     "drop");
	query_init(&q);
	need(filter_parse(a->filter, &tree, &error) == 0, a->filter);
	query_add(&q, traffic_sql, query_bind_int(&q, a->since_ms), query_bind_int(&q, a->since_ms),
		  query_bind_int(&q, a->until_ms == INT64_MIN ? INT64_MAX : a->until_ms));
	filter_tree_sql(tree, &q);
	need(query_prepare(&q, db, &st) == 0, sqlite3_errmsg(db));
	need(sqlite3_step(st) == SQLITE_DONE, sqlite3_errmsg(db));
	(void)sqlite3_finalize(st); /* went well */
	query_done(&q);
	filter_tree_free(tree);
	need(sqlite3_exec(db, TRAFFIC_SET_ASIDE(TEXT_OF(ONCE_SLACK_MS)), NULL, NULL, NULL) ==
		     SQLITE_OK,
	     sqlite3_errmsg(db));
}

static void add_keys(const struct asking *a, sqlite3_str *sql)
{
	size_t n;
	const struct flows_column *columns = flows_columns(&n);

	if (a->report->group[0])
		sqlite3_str_appendall(sql, a->report->group);
	for (size_t i = 0; !a->report->group[0] && i < a->n_by; i++)
		sqlite3_str_appendf(sql, "%s%s", i ? ", " : "", columns[a->by[i]].name);
}

static char *sums_sql(const struct asking *a)
{
	const struct report *r = a->report;
	sqlite3_str *sql = sqlite3_str_new(NULL);

	sqlite3_str_appendall(sql, "SELECT ");
	add_keys(a, sql);
	sqlite3_str_appendf(sql, ", %s FROM %s WHERE %s GROUP BY ", r->measures, r->from, r->where);
	add_keys(a, sql);
	sqlite3_str_appendf(sql, " ORDER BY %s, ", r->order);
	add_keys(a, sql);
	if (a->limit)
		sqlite3_str_appendf(sql, " LIMIT %u", a->limit);
	return sqlite3_str_finish(sql);
}

/* The row of what is left, or of all. */
static void add_sum_row(const struct asking *a, sqlite3_str *sql, const char *name,
			const char *where)
{
	sqlite3_str_appendf(sql, " UNION ALL SELECT %d, 0, '%s'",
			    *name == '(' && name[1] == 'o' ? 2 : 3, name);
	for (size_t i = 1; i < a->n_by; i++)
		sqlite3_str_appendall(sql, ", NULL");
	for (size_t i = 0; i < a->n_show; i++)
		sqlite3_str_appendf(sql, ", sum(m%u)", (unsigned)i);
	sqlite3_str_appendf(sql, " FROM ranked%s HAVING count(*) > 0", where);
}

static char *top_sql(const struct asking *a)
{
	sqlite3_str *sql = sqlite3_str_new(NULL);
	bool sums = true;
	char where[64];

	sqlite3_str_appendall(sql, "WITH grouped AS (SELECT ");
	add_keys(a, sql);
	for (size_t i = 0; i < a->n_show; i++)
		sqlite3_str_appendf(sql, ", %s AS m%u", a->show[i]->sql, (unsigned)i);
	sqlite3_str_appendall(sql, " FROM traffic GROUP BY ");
	add_keys(a, sql);
	sqlite3_str_appendf(sql, "), ranked AS (SELECT row_number() OVER (ORDER BY m%u DESC, ",
			    (unsigned)a->order);
	add_keys(a, sql);
	sqlite3_str_appendf(sql,
			    ") AS rank, * FROM grouped), answer AS (SELECT 1 AS part, * FROM ranked"
			    " WHERE rank <= %u",
			    a->limit ? a->limit : UINT32_MAX);
	(void)snprintf(where, sizeof(where), " WHERE rank > %u", a->limit ? a->limit : UINT32_MAX);
	for (size_t i = 0; i < a->n_show; i++)
		sums &= a->show[i]->adds_up;
	if (sums) {
		add_sum_row(a, sql, "(other)", where);
		add_sum_row(a, sql, "(total)", "");
	}
	sqlite3_str_appendall(sql, ") SELECT ");
	add_keys(a, sql);
	for (size_t i = 0; i < a->n_show; i++)
		sqlite3_str_appendf(sql, ", m%u", (unsigned)i);
	sqlite3_str_appendall(sql, " FROM answer ORDER BY part, rank");
	return sqlite3_str_finish(sql);
}

/* Without the rows of sums, where they are not compared. */
static void drop_sum_rows(const struct asking *a, struct answer *got, const struct answer *wanted)
{
	for (size_t i = 0; i < a->n_show; i++) {
		if (a->show[i]->adds_up)
			continue;
		while (got->n > wanted->n && strncmp(got->rows[got->n - 1], "'(", 2) == 0)
			sqlite3_free(got->rows[--got->n]);
		return;
	}
}

/* --- both ------------------------------------------------------------------------------------ */

void ask_report(struct data *d, struct choices *c, char **ret_question, struct answer *ret_got,
		struct answer *ret_wanted)
{
	struct asking a = {.c = c, .values = d->plain};
	sqlite3 *db = row_table_db(d->plain);
	char *argv[MAX_ARGS], *sql, *json;
	int argc;

	choose_all(&a);
	argc = make_arguments(&a, d->path, argv);
	*ret_question = joined(argc, argv);
	json = run_command(argc, argv);
	rows_of_json(db, json, ret_got);
	free(json);
	make_traffic(&a, db);
	sql = a.report->keys ? sums_sql(&a) : top_sql(&a);
	need(sql != NULL, "memory");
	answer_of_sql(db, sql, ret_wanted);
	if (ret_wanted->error && ret_got->error) { /* the same, in other words */
		free(ret_got->error);
		ret_got->error = strdup(ret_wanted->error);
	}
	answer_round_reals(ret_got);
	answer_round_reals(ret_wanted);
	drop_sum_rows(&a, ret_got, ret_wanted);
	sqlite3_free(sql);
	sqlite3_free(a.filter);
	for (int i = 0; i < argc; i++)
		sqlite3_free(argv[i]);
}
