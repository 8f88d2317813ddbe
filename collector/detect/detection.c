// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/detect/detection.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "collector/sqlite/binder.h"
#include "collector/sqlite/db_error.h"
#include "collector/sqlite/statement.h"
#include "common/addr.h"
#include "common/cleanup.h"

#define MAX_FINDINGS 256   /* of one bucket */
#define MAX_LEARNT   10000 /* subjects, the busiest, of one bucket */

#define WARM_UP_BUCKETS 5
#define LEARN_MIN	0.1 /* weight of the newest bucket, once there are ten */
#define MS_PER_MIN	60000.0

/*
 * What a flow record says about its attempt, as conditions on the columns that
 * the table flows has; evidence uses the same.
 *
 * An attempt: TCP that begins with a SYN, or never gets to an ACK (FIN, NULL
 * and XMAS scans), but not one of which only the middle was seen; UDP, but not
 * the ports that traceroute(8) counts through; echo requests.
 */
#define TRIED                                                                                      \
	"((proto = 6 AND ((tcp_flags & 2) <> 0 OR (tcp_flags & 16) = 0))"                          \
	" OR (proto = 17 AND dst_port NOT BETWEEN 33434 AND 33534)"                                \
	" OR (proto = 1 AND icmp_type = 8) OR (proto = 58 AND icmp_type = 128))"
/* Refused, unanswered, or nothing said: three packets make and end a connection. */
#define FAILED                                                                                     \
	"CASE proto WHEN 6 THEN (rev_total_packets = 0 AND (tcp_flags & 16) = 0)"                  \
	" OR (rev_tcp_flags & 6) = 4 OR (total_packets <= 3 AND rev_total_packets <= 3)"           \
	" WHEN 17 THEN rev_total_packets = 0 AND total_packets <= 3 ELSE total_packets <= 3 END"
/*
 * Half-open: a SYN, answered or swallowed by the server, and no ACK. A refused
 * connection (RST) costs the server nothing; one that got no answer counts
 * only where it was seen to come in, else the server may just be away.
 */
#define OPENED "(proto = 6 AND (tcp_flags & 2) <> 0)"
#define HALF_OPEN(arrived)                                                                         \
	"(proto = 6 AND (tcp_flags & 18) = 2"                                                      \
	" AND ((rev_tcp_flags & 2) <> 0 OR (rev_total_packets = 0 AND " arrived ")))"

/*
 * target: one row for each service that each source talked to, from the bucket
 * ([?2, ?3)) and the one before it (from ?1). Innermost, one row for each
 * conversation and host; then hosts that report the same conversation are put
 * together; then the conversations with the same target. port is the type for
 * ICMP. packets, opened and half_open are of the bucket only.
 */
static const char target_sql[] =
	"INSERT INTO temp.target"
	" SELECT src_addr, dst_addr, proto, port, sum(packets), sum(iif(fresh, opened, 0)),"
	"        sum(iif(fresh, half_open, 0)), max(tried), min(failed), max(fresh), min(first_ms)"
	"   FROM (SELECT src_addr, dst_addr, proto, port, max(packets) AS packets,"
	"                max(opened) AS opened, max(half_open) AS half_open, max(tried) AS tried,"
	"                min(failed) AS failed, max(fresh) AS fresh, min(first_ms) AS first_ms"
	"           FROM (SELECT src_addr, dst_addr, src_port, proto, icmp_id,"
	"                        ifnull(icmp_type, dst_port) AS port,"
	"                        sum(iif(end_ms >= ?2, packets, 0)) AS packets,"
	"                        max(" OPENED ") AS opened,"
	"                        min(" HALF_OPEN(
		"direction = 'ingress'") ") AS half_open,"
					 "                        max(" TRIED
					 ") AS tried, min(" FAILED ") AS failed,"
					 "                        max(end_ms >= ?2) AS fresh, "
					 "min(end_ms) "
					 "AS first_ms"
					 "                   FROM flows"
					 "                  WHERE end_ms >= ?1 AND end_ms < ?3 AND "
					 "end_reason IS NOT 'no_resources'"
					 "                  GROUP BY host_id, src_addr, dst_addr, "
					 "src_port, proto, icmp_id, port)"
					 "          GROUP BY src_addr, dst_addr, src_port, proto, "
					 "icmp_id, "
					 "port)"
					 "  GROUP BY src_addr, dst_addr, proto, port";

static const char target_schema[] =
	"CREATE TEMP TABLE IF NOT EXISTS target (src_addr TEXT, dst_addr TEXT, proto INTEGER,"
	" port INTEGER, packets INTEGER, opened INTEGER, half_open INTEGER, tried INTEGER,"
	" failed INTEGER, fresh INTEGER, first_ms INTEGER);"
	"DELETE FROM temp.target;";

/* One bucket under judgement. */
struct bucket {
	sqlite3 *db;
	const struct detection_limits *limits;
	int64_t from_ms, until_ms;
	struct detection *d;
};

DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

static void sqlite3_free_p(char **text)
{
	sqlite3_free(*text);
}

static void free_finding(struct finding *f)
{
	sqlite3_free(f->src_addr);
	sqlite3_free(f->dst_addr);
	sqlite3_free(f->hosts);
	sqlite3_free(f->detail);
	sqlite3_free(f->evidence_sql);
}

void detection_free(struct detection *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n_findings; i++)
		free_finding(&d->findings[i]);
	for (size_t i = 0; i < d->n_learnt; i++)
		sqlite3_free(d->learnt[i].subject);
	free(d->findings);
	free(d->learnt);
	free(d);
}

static int64_t length_ms(const struct bucket *b)
{
	return b->until_ms - b->from_ms;
}

static int fill_target(struct bucket *b)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	struct binder bind;
	int err;

	if (sqlite3_exec(b->db, target_schema, NULL, NULL, NULL) != SQLITE_OK)
		return db_last_errno(b->db);
	err = statement_prepare(b->db, target_sql, &st);
	if (err)
		return err;
	bind = binder_start(st);
	binder_int(&bind, b->from_ms - length_ms(b));
	binder_int(&bind, b->from_ms);
	binder_int(&bind, b->until_ms);
	return binder_run(&bind);
}

/* --- findings ---------------------------------------------------------------- */

static char *copy(const unsigned char *text)
{
	return text ? sqlite3_mprintf("%s", text) : NULL;
}

/*
 * If the finding goes on from an incident that ended with the bucket before,
 * or one earlier, takes over its id, its beginning and the higher value.
 */
static int join_open_incident(struct bucket *b, struct finding *f)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	struct binder bind;
	int found, err;

	err = statement_prepare(
		b->db,
		"SELECT id, start_ms, minutes, value, detail FROM incident"
		" WHERE end_ms >= ?1 AND kind = ?2 AND (?3 IS NULL OR src_addr = ?3)"
		" AND (?4 IS NULL OR dst_addr = ?4) AND (?5 < 0 OR dst_port = ?5)"
		" AND (?6 < 0 OR proto = ?6) ORDER BY end_ms DESC LIMIT 1",
		&st);
	if (err)
		return err;
	bind = binder_start(st);
	binder_int(&bind, b->from_ms - length_ms(b));
	binder_text(&bind, f->kind);
	binder_text(&bind, f->src_addr);
	binder_text(&bind, f->dst_addr);
	binder_int(&bind, f->dst_port);
	binder_int(&bind, f->src_addr && f->dst_addr ? -1 : f->proto); /* a scan may turn to UDP */
	found = binder_row(&bind);
	if (found <= 0)
		return found;
	f->incident_id = sqlite3_column_int64(st, 0);
	f->start_ms = sqlite3_column_int64(st, 1);
	f->minutes = sqlite3_column_int64(st, 2) + 1;
	if (sqlite3_column_double(st, 3) >= f->value) {
		f->value = sqlite3_column_double(st, 3);
		sqlite3_free(f->detail);
		f->detail = copy(sqlite3_column_text(st, 4));
	}
	return 0;
}

/* The names of the hosts in the evidence, by comma. */
static int name_hosts(struct bucket *b, struct finding *f)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	cleanup(sqlite3_free_p) char *sql = NULL;
	struct binder bind;
	int found, err;

	sql = sqlite3_mprintf("SELECT ifnull(group_concat(host, ','), '') FROM"
			      " (SELECT DISTINCT host FROM (%s) ORDER BY host LIMIT 20)",
			      f->evidence_sql);
	err = sql ? statement_prepare(b->db, sql, &st) : -ENOMEM;
	if (err)
		return err;
	bind = binder_start(st);
	found = binder_row(&bind);
	if (found > 0)
		f->hosts = copy(sqlite3_column_text(st, 0));
	return found < 0 ? found : 0;
}

static int complete(struct bucket *b, struct finding *f, const char *condition)
{
	int err;

	if (!f->detail || !condition)
		return -ENOMEM;
	err = join_open_incident(b, f);
	if (err)
		return err;
	f->evidence_sql = sqlite3_mprintf("SELECT * FROM flows WHERE end_ms >= %lld"
					  " AND end_ms < %lld AND %s ORDER BY end_ms",
					  (long long)f->start_ms, (long long)f->end_ms, condition);
	err = f->evidence_sql ? name_hosts(b, f) : -ENOMEM;
	return err ? err : f->hosts && f->detail ? 0 : -ENOMEM;
}

/*
 * Adds a finding of which the caller has set what is its own: kind to unit,
 * addresses, numbers and detail. Takes its texts and condition (evidence).
 */
static int add_finding(struct bucket *b, struct finding *f, char *condition, int64_t first_ms)
{
	int err = 0;

	f->start_ms = first_ms < b->from_ms ? b->from_ms - length_ms(b) : b->from_ms;
	f->end_ms = b->until_ms;
	f->minutes = (f->end_ms - f->start_ms) / length_ms(b);
	if (b->d->n_findings == MAX_FINDINGS)
		b->d->n_left_out++;
	else
		err = complete(b, f, condition);
	if (err || b->d->n_findings == MAX_FINDINGS)
		free_finding(f);
	else
		b->d->findings[b->d->n_findings++] = *f;
	sqlite3_free(condition);
	return err;
}

/* Runs judge() on every row of sql. Its parameter, if it has one, is limit. */
static int each_row(struct bucket *b, const char *sql, uint64_t limit,
		    int (*judge)(struct bucket *b, sqlite3_stmt *row))
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	struct binder bind;
	int more, err;

	err = statement_prepare(b->db, sql, &st);
	if (err)
		return err;
	bind = binder_start(st);
	if (sqlite3_bind_parameter_count(st) > 0)
		binder_count(&bind, limit);
	while ((more = binder_row(&bind)) > 0) {
		err = judge(b, st);
		if (err)
			return err;
	}
	return more;
}

/* --- the detectors ------------------------------------------------------------- */

static const char port_scan_sql[] =
	"SELECT src_addr, dst_addr, count(*), sum(failed), min(first_ms),"
	"       iif(min(proto) = max(proto), min(proto), -1)"
	"  FROM temp.target WHERE tried AND proto IN (6, 17) GROUP BY src_addr, dst_addr"
	" HAVING count(*) >= ?1 AND sum(failed) >= 0.7 * count(*) AND max(fresh)"
	" ORDER BY count(*) DESC";

static int judge_port_scan(struct bucket *b, sqlite3_stmt *row)
{
	struct finding f = {
		.kind = "port_scan",
		.severity = "warn",
		.unit = "ports",
		.src_addr = copy(sqlite3_column_text(row, 0)),
		.dst_addr = copy(sqlite3_column_text(row, 1)),
		.dst_port = -1,
		.proto = sqlite3_column_int64(row, 5),
		.value = (double)sqlite3_column_int64(row, 2),
		.baseline = NAN,
		.threshold = (double)b->limits->scan_ports,
	};
	char *condition;

	f.detail = sqlite3_mprintf("%s tried %lld ports of %s; %lld of them were closed, silent or "
				   "left at once",
				   f.src_addr, sqlite3_column_int64(row, 2), f.dst_addr,
				   sqlite3_column_int64(row, 3));
	condition =
		sqlite3_mprintf("src_addr = %Q AND dst_addr = %Q AND proto IN (6, 17) AND " TRIED,
				f.src_addr, f.dst_addr);
	return add_finding(b, &f, condition, sqlite3_column_int64(row, 4));
}

static const char host_sweep_sql[] =
	"SELECT src_addr, proto, port, count(*), sum(failed), min(first_ms)"
	"  FROM temp.target WHERE tried GROUP BY src_addr, proto, port"
	" HAVING count(*) >= ?1 AND sum(failed) >= 0.7 * count(*) AND max(fresh)"
	" ORDER BY count(*) DESC";

/* "port 22/tcp", or "echo" for ICMP, whose port is the type. */
static const char *service_text(int64_t proto, int64_t port, char *buf, size_t size)
{
	const char *name = proto_name((uint8_t)proto);

	if (proto == 1 || proto == 58)
		(void)snprintf(buf, size, "%s type %" PRId64, name, port);
	else if (name)
		(void)snprintf(buf, size, "port %" PRId64 "/%s", port, name);
	else
		(void)snprintf(buf, size, "protocol %" PRId64, proto);
	return buf;
}

static int64_t port_or_none(int64_t proto, int64_t port)
{
	return proto == 6 || proto == 17 || proto == 132 ? port : -1;
}

static int judge_host_sweep(struct bucket *b, sqlite3_stmt *row)
{
	int64_t proto = sqlite3_column_int64(row, 1), port = sqlite3_column_int64(row, 2);
	struct finding f = {
		.kind = "host_sweep",
		.severity = "warn",
		.unit = "hosts",
		.src_addr = copy(sqlite3_column_text(row, 0)),
		.dst_port = port_or_none(proto, port),
		.proto = proto,
		.value = (double)sqlite3_column_int64(row, 3),
		.baseline = NAN,
		.threshold = (double)b->limits->sweep_hosts,
	};
	char *condition, service[64];

	f.detail = sqlite3_mprintf("%s tried %s of %lld hosts; on %lld of them it was closed, "
				   "silent or left at once",
				   f.src_addr, service_text(proto, port, service, sizeof(service)),
				   sqlite3_column_int64(row, 3), sqlite3_column_int64(row, 4));
	condition = sqlite3_mprintf("src_addr = %Q AND proto = %lld"
				    " AND ifnull(icmp_type, dst_port) = %lld AND " TRIED,
				    f.src_addr, (long long)proto, (long long)port);
	return add_finding(b, &f, condition, sqlite3_column_int64(row, 5));
}

static const char syn_flood_sql[] =
	"SELECT dst_addr, port, sum(half_open), sum(opened), count(DISTINCT src_addr),"
	"       min(src_addr)"
	"  FROM temp.target WHERE proto = 6 GROUP BY dst_addr, port"
	" HAVING sum(half_open) >= ?1 AND sum(half_open) >= 0.8 * sum(opened)"
	" ORDER BY sum(half_open) DESC";

/* The limit per minute, for the length of this bucket; below 20 says nothing. */
static uint64_t half_open_limit(const struct bucket *b)
{
	double scaled = (double)b->limits->half_open * (double)length_ms(b) / MS_PER_MIN;

	return (uint64_t)fmax(scaled, 20);
}

static int judge_syn_flood(struct bucket *b, sqlite3_stmt *row)
{
	int64_t n_sources = sqlite3_column_int64(row, 4);
	struct finding f = {
		.kind = "syn_flood",
		.severity = "crit",
		.unit = "half-open connections a minute",
		.dst_addr = copy(sqlite3_column_text(row, 0)),
		.dst_port = sqlite3_column_int64(row, 1),
		.proto = 6,
		.value = (double)sqlite3_column_int64(row, 2) * MS_PER_MIN / (double)length_ms(b),
		.baseline = NAN,
		.threshold = (double)half_open_limit(b) * MS_PER_MIN / (double)length_ms(b),
	};
	char *condition;

	f.detail = sqlite3_mprintf("%lld of %lld connections to %s port %lld were left half-open, "
				   "from %lld source%s%s",
				   sqlite3_column_int64(row, 2), sqlite3_column_int64(row, 3),
				   f.dst_addr, f.dst_port, n_sources, n_sources == 1 ? " " : "s",
				   n_sources == 1 ? (const char *)sqlite3_column_text(row, 5) : "");
	condition = sqlite3_mprintf("dst_addr = %Q AND dst_port = %lld"
				    " AND " HALF_OPEN("direction = 'ingress'"),
				    f.dst_addr, (long long)f.dst_port);
	return add_finding(b, &f, condition, b->from_ms);
}

static const char rate_sql[] =
	"WITH rate(subject, src_addr, dst_addr, proto, port, packets) AS ("
	" SELECT 'src ' || src_addr, src_addr, NULL, -1, -1, sum(packets)"
	"   FROM temp.target GROUP BY src_addr"
	" UNION ALL"
	" SELECT 'service ' || dst_addr || ' ' || proto || ' ' || port, NULL, dst_addr, proto,"
	"        port, sum(packets)"
	"   FROM temp.target GROUP BY dst_addr, proto, port)"
	" SELECT r.subject, r.src_addr, r.dst_addr, r.proto, r.port, r.packets,"
	"        ifnull(b.mean, 0), ifnull(b.variance, 0), ifnull(b.minutes, 0)"
	"   FROM rate r LEFT JOIN baseline b ON b.subject = r.subject"
	"  WHERE r.packets > 0 ORDER BY r.packets DESC";

/* Exponentially weighted, and a plain mean until there are enough buckets for that. */
static int learn(struct bucket *b, sqlite3_stmt *row, double rate)
{
	struct detection *d = b->d;
	struct learnt l = {
		.mean = sqlite3_column_double(row, 6),
		.variance = sqlite3_column_double(row, 7),
		.minutes = sqlite3_column_int64(row, 8),
	};
	double weight = fmax(1.0 / (double)(l.minutes + 1), LEARN_MIN);
	double off = rate - l.mean;

	if (d->n_learnt == MAX_LEARNT) {
		d->n_left_out++;
		return 0;
	}
	l.mean += weight * off;
	l.variance = (1 - weight) * (l.variance + weight * off * off);
	l.minutes++;
	l.subject = copy(sqlite3_column_text(row, 0));
	if (!l.subject)
		return -ENOMEM;
	d->learnt[d->n_learnt++] = l;
	return 0;
}

static int add_spike(struct bucket *b, sqlite3_stmt *row, double rate, double threshold)
{
	int64_t proto = sqlite3_column_int64(row, 3), port = sqlite3_column_int64(row, 4);
	struct finding f = {
		.kind = "rate_spike",
		.severity = "warn",
		.unit = "packets a minute",
		.src_addr = copy(sqlite3_column_text(row, 1)),
		.dst_addr = copy(sqlite3_column_text(row, 2)),
		.dst_port = port_or_none(proto, port),
		.proto = proto,
		.value = rate,
		.baseline = sqlite3_column_double(row, 6),
		.threshold = threshold,
	};
	char *condition, service[64];

	if (f.src_addr) {
		f.detail = sqlite3_mprintf("%s sent %.0f packets a minute; it had sent about %.0f",
					   f.src_addr, rate, f.baseline);
		condition = sqlite3_mprintf("src_addr = %Q", f.src_addr);
	} else {
		f.detail = sqlite3_mprintf(
			"%s %s got %.0f packets a minute; it had got about %.0f", f.dst_addr,
			service_text(proto, port, service, sizeof(service)), rate, f.baseline);
		condition = sqlite3_mprintf("dst_addr = %Q AND proto = %lld"
					    " AND ifnull(icmp_type, dst_port) = %lld",
					    f.dst_addr, (long long)proto, (long long)port);
	}
	return add_finding(b, &f, condition, b->from_ms);
}

/* A rate that raises is not learnt from: a flood must not become normal. */
static int judge_rate(struct bucket *b, sqlite3_stmt *row)
{
	double rate = (double)sqlite3_column_int64(row, 5) * MS_PER_MIN / (double)length_ms(b);
	double mean = sqlite3_column_double(row, 6), sigma = sqrt(sqlite3_column_double(row, 7));
	double threshold = fmax(mean + fmax(5 * sigma, 2 * mean), (double)b->limits->rate_floor);

	if (sqlite3_column_int64(row, 8) >= WARM_UP_BUCKETS && rate > threshold)
		return add_spike(b, row, rate, threshold);
	return learn(b, row, rate);
}

static struct detection *alloc_detection(int64_t from_ms, int64_t until_ms)
{
	struct detection *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->from_ms = from_ms;
	d->until_ms = until_ms;
	d->findings = calloc(MAX_FINDINGS, sizeof(*d->findings));
	d->learnt = calloc(MAX_LEARNT, sizeof(*d->learnt));
	if (d->findings && d->learnt)
		return d;
	detection_free(d);
	return NULL;
}

static int judge_all(struct bucket *b)
{
	int err = fill_target(b);

	if (!err)
		err = each_row(b, syn_flood_sql, half_open_limit(b), judge_syn_flood);
	if (!err)
		err = each_row(b, port_scan_sql, b->limits->scan_ports, judge_port_scan);
	if (!err)
		err = each_row(b, host_sweep_sql, b->limits->sweep_hosts, judge_host_sweep);
	if (!err)
		err = each_row(b, rate_sql, 0, judge_rate);
	return err;
}

int detection_new(sqlite3 *db, const struct detection_limits *limits, int64_t from_ms,
		  int64_t until_ms, struct detection **ret)
{
	struct detection *d = alloc_detection(from_ms, until_ms);
	struct bucket b = {db, limits, from_ms, until_ms, d};
	int err;

	if (!d)
		return -ENOMEM;
	err = judge_all(&b);
	if (err)
		detection_free(d);
	else
		*ret = d;
	return err;
}
