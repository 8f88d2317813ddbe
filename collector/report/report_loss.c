// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* report_loss.c - what left one host and did not reach the other: flowstore/two_ended.h, summed. */
#include "collector/report/report.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "collector/aggregate/group_table.h"
#include "collector/cli/coverage.h"
#include "collector/flowstore/host_names.h"
#include "collector/report/report_where.h"
#include "collector/report/two_ended.h"
#include "collector/store/db.h"
#include "common/addr.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"

#define LOSS_KEYS "src_host dst_host src_addr dst_addr dst_port proto_name"

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(struct two_ended *, two_ended_close)
DEFINE_CLEANUP(struct output *, output_free)

enum loss_key { SRC_HOST, DST_HOST, SRC_ADDR, DST_ADDR, DST_PORT, PROTO_NAME, N_LOSS_KEYS };

static const char *const key_names[N_LOSS_KEYS] = {"src_host", "dst_host", "src_addr",
						   "dst_addr", "dst_port", "proto_name"};

/* Packets are those of flows whose loss is known. */
struct sums {
	int64_t flows, unknown_flows;
	int64_t packets, lost_packets, rev_packets, rev_lost_packets;
	int64_t kernel_drops;
};

struct groups {
	struct group_table table;
	struct sums *sums;
	size_t max;
};

struct loss {
	size_t n_keys;
	enum loss_key keys[REPORT_MAX_KEYS];
	struct host_names hosts; /* those of the same name are one */
	struct two_ended *flows;
	pthread_mutex_t lock; /* of all below, while threads sum */
	struct groups all;
	int err;
};

/* A thread that sums. */
struct worker {
	struct loss *l;
	struct groups groups;
};

/* --- sums ---------------------------------------------------------------------- */

/* 0: it is gone. */
static uint32_t same_host(const struct loss *l, uint32_t id)
{
	const struct host_name *h = host_names_entry(&l->hosts, id);

	return h ? (uint32_t)h->same : 0;
}

static uint32_t key_of(const struct loss *l, enum loss_key key, const struct two_ended_flow *f)
{
	switch (key) {
	case SRC_HOST:
		return same_host(l, f->src_host);
	case DST_HOST:
		return same_host(l, f->dst_host);
	case SRC_ADDR:
		return f->src_addr;
	case DST_ADDR:
		return f->dst_addr;
	case DST_PORT:
		return f->dst_port;
	default:
		return f->proto;
	}
}

static int add_sums(struct groups *g, const uint32_t *const *ids, const struct sums *more)
{
	uint32_t group;
	int err = group_table_add(&g->table, ids, 1, &group);
	struct sums *sums;

	if (err)
		return err;
	if (group >= g->max) {
		size_t max = g->max ? 2 * g->max : 64;

		sums = realloc(g->sums, max * sizeof(*sums));
		if (!sums)
			return -ENOMEM;
		memset(sums + g->max, 0, (max - g->max) * sizeof(*sums));
		g->sums = sums;
		g->max = max;
	}
	sums = &g->sums[group];
	sums->flows += more->flows;
	sums->unknown_flows += more->unknown_flows;
	sums->packets += more->packets;
	sums->lost_packets += more->lost_packets;
	sums->rev_packets += more->rev_packets;
	sums->rev_lost_packets += more->rev_lost_packets;
	sums->kernel_drops += more->kernel_drops;
	return 0;
}

static void groups_done(struct groups *g)
{
	group_table_done(&g->table);
	free(g->sums);
}

static int worker_open(void *arg, void **ret)
{
	struct worker *me = calloc(1, sizeof(*me));

	if (!me)
		return -ENOMEM;
	me->l = arg;
	group_table_init(&me->groups.table, me->l->n_keys);
	*ret = me;
	return 0;
}

static int add_flow(void *worker, const struct two_ended_flow *f)
{
	struct worker *me = worker;
	struct sums sums = {.flows = 1, .unknown_flows = !f->known};
	const uint32_t *ids[REPORT_MAX_KEYS];
	uint32_t keys[REPORT_MAX_KEYS];

	sums.kernel_drops = (int64_t)f->kernel_drops;
	if (f->known) {
		sums.packets = (int64_t)f->sent_packets;
		sums.lost_packets = (int64_t)(f->sent_packets - f->received_packets);
		sums.rev_packets = (int64_t)f->rev_sent_packets;
		sums.rev_lost_packets = (int64_t)(f->rev_sent_packets - f->rev_received_packets);
	}
	for (size_t k = 0; k < me->l->n_keys; k++) {
		keys[k] = key_of(me->l, me->l->keys[k], f);
		ids[k] = &keys[k];
	}
	return add_sums(&me->groups, ids, &sums);
}

/* What the thread has joins the rest. */
static void worker_close(void *worker)
{
	struct worker *me = worker;
	struct loss *l = me->l;
	int err = 0;

	(void)pthread_mutex_lock(&l->lock);
	for (size_t g = 0; !err && g < me->groups.table.n; g++) {
		const uint32_t *keys = group_table_ids(&me->groups.table, g);
		const uint32_t *ids[REPORT_MAX_KEYS];

		for (size_t k = 0; k < l->n_keys; k++)
			ids[k] = &keys[k];
		err = add_sums(&l->all, ids, &me->groups.sums[g]);
	}
	if (err)
		l->err = err;
	(void)pthread_mutex_unlock(&l->lock);
	groups_done(&me->groups);
	free(me);
}

static int read_flows(sqlite3 *db, const struct predicate *where, struct loss *l)
{
	static const struct two_ended_visitor add_all = {worker_open, add_flow, worker_close};
	int err = db_errno(host_names_read(&l->hosts, db));

	group_table_init(&l->all.table, l->n_keys);
	if (!err)
		err = two_ended_open(db, where, &l->flows);
	if (!err)
		err = two_ended_visit(l->flows, &add_all, l);
	return err ? err : l->err;
}

/* --- printing ------------------------------------------------------------------ */

/* A name, an address or a protocol as text; NULL: it is a number. */
static const char *key_text(const struct loss *l, enum loss_key key, uint32_t id,
			    char buffer[ADDR_TEXT_MAX])
{
	const char *name;

	switch (key) {
	case SRC_HOST:
	case DST_HOST:
		name = host_names_get(&l->hosts, id);
		return name ? name : "";
	case SRC_ADDR:
	case DST_ADDR:
		return addr_format(two_ended_addr(l->flows, id), buffer);
	case PROTO_NAME:
		if (proto_name((uint8_t)id))
			return proto_name((uint8_t)id);
		(void)snprintf(buffer, ADDR_TEXT_MAX, "%u", id);
		return buffer;
	default:
		return NULL;
	}
}

/* Most lost packets first, then by the keys. */
static int by_loss(const void *a, const void *b, void *arg)
{
	const struct loss *l = arg;
	const uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;
	const struct sums *s = l->all.sums;
	int64_t lost = s[first].lost_packets + s[first].rev_lost_packets;
	int64_t other = s[second].lost_packets + s[second].rev_lost_packets;
	int order = (other > lost) - (other < lost);

	for (size_t k = 0; order == 0 && k < l->n_keys; k++) {
		uint32_t x = group_table_ids(&l->all.table, first)[k];
		uint32_t y = group_table_ids(&l->all.table, second)[k];
		char buffer[2][ADDR_TEXT_MAX];
		const char *text = key_text(l, l->keys[k], x, buffer[0]);

		if (text)
			order = strcmp(text, key_text(l, l->keys[k], y, buffer[1]));
		else
			order = (x > y) - (x < y);
	}
	return order;
}

/* NULL where no flow of the group is known. */
static void print_loss(struct output *o, const struct sums *s, int64_t packets, int64_t lost)
{
	output_int(o, packets);
	if (s->unknown_flows == s->flows)
		output_null(o);
	else
		output_int(o, lost);
	if (packets == 0 || s->unknown_flows == s->flows)
		output_null(o);
	else
		output_double(o, 100.0 * (double)lost / (double)packets);
}

static void print_group(struct output *o, const struct loss *l, uint32_t group)
{
	const uint32_t *keys = group_table_ids(&l->all.table, group);
	const struct sums *s = &l->all.sums[group];

	for (size_t k = 0; k < l->n_keys; k++) {
		char buffer[ADDR_TEXT_MAX];
		const char *text = key_text(l, l->keys[k], keys[k], buffer);

		if (text)
			output_str(o, text);
		else
			output_int(o, keys[k]);
	}
	output_int(o, s->flows);
	output_int(o, s->unknown_flows);
	print_loss(o, s, s->packets, s->lost_packets);
	print_loss(o, s, s->rev_packets, s->rev_lost_packets);
	output_int(o, s->kernel_drops);
}

static int print(const struct cli_settings *s, struct loss *l)
{
	static const struct output_column sums[] = {
		{"flows", UNIT_COUNT},
		{"unknown_flows", UNIT_COUNT},
		{"packets", UNIT_COUNT},
		{"lost_packets", UNIT_COUNT},
		{"lost_pct", UNIT_PERCENT},
		{"rev_packets", UNIT_COUNT},
		{"rev_lost_packets", UNIT_COUNT},
		{"rev_lost_pct", UNIT_PERCENT},
		{"kernel_drops", UNIT_COUNT},
	};
	struct output_column columns[REPORT_MAX_KEYS + sizeof(sums) / sizeof(sums[0])];
	cleanup(output_free_p) struct output *o = NULL;
	size_t n = l->all.table.n;
	cleanup(free_p) uint32_t *order = malloc((n + 1) * sizeof(*order));
	int err;

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	qsort_r(order, n, sizeof(*order), by_loss, l);
	for (size_t k = 0; k < l->n_keys; k++)
		columns[k] = (struct output_column){key_names[l->keys[k]], UNIT_NONE};
	memcpy(columns + l->n_keys, sums, sizeof(sums));
	err = output_begin(stdout, s->format, s->raw_numbers, columns,
			   l->n_keys + sizeof(sums) / sizeof(sums[0]), &o);
	if (err)
		return err;
	for (size_t i = 0; i < n && (s->limit == 0 || i < s->limit); i++)
		print_group(o, l, order[i]);
	return output_end(take_ptr(o));
}

/* --- the command --------------------------------------------------------------- */

static void loss_done(struct loss *l)
{
	two_ended_close(l->flows);
	groups_done(&l->all);
	host_names_done(&l->hosts);
	(void)pthread_mutex_destroy(&l->lock);
}

static void set_keys(struct loss *l, const struct option_list *by)
{
	for (size_t i = 0; i < by->n; i++)
		for (size_t k = 0; k < N_LOSS_KEYS; k++)
			if (strcmp(by->items[i], key_names[k]) == 0)
				l->keys[l->n_keys++] = (enum loss_key)k;
}

static int fail(sqlite3 *db, int err)
{
	if (err != -E2BIG)
		return cli_fail(db, err);
	log_error("more than %u records: name a shorter time, or a filter", TWO_ENDED_MAX_RECORDS);
	return EXIT_RUNTIME;
}

static int run(const void *settings, int argc, char **argv)
{
	const struct report_by_settings *s = settings;
	cleanup(report_where_done) struct report_where where = {0};
	cleanup(loss_done) struct loss l = {.lock = PTHREAD_MUTEX_INITIALIZER};
	cleanup(db_close_p) sqlite3 *db = NULL;
	int err, code = report_check_keys(&s->by, LOSS_KEYS);

	if (code)
		return code;
	set_keys(&l, &s->by);
	code = cli_open(&s->cli, &db);
	if (!code)
		code = cli_exec(db, "BEGIN"); /* all is read at one moment */
	if (!code)
		code = report_where_init(&where, db, s->cli.since_ms, s->cli.until_ms, argc, argv);
	if (code)
		return code;
	err = read_flows(db, report_where_and(&where, NULL), &l);
	if (!err)
		err = print(&s->cli, &l);
	if (err)
		return fail(db, err);
	if (!s->cli.quiet)
		coverage_print(db, s->cli.since_ms, s->cli.until_ms);
	return EXIT_OK;
}

static const struct option_row by_row = REPORT_BY_ROW("src_host,dst_host", LOSS_KEYS);

const struct cli_command report_loss = {
	.command =
		{.name = "report loss",
		 .args = "[FILTER...]",
		 .summary = "packets lost between two hosts, each way, seen from both ends",
		 .examples =
			 "Of flows that have ended and that both hosts saw; unknown_flows go on, "
			 "or one of the\n"
			 "hosts lost records at the time. The view two_ended has each of them.\n",
		 .tables = {{&by_row, 1}, REPORT_TABLES}},
	.settings_size = sizeof(struct report_by_settings),
	.run = run,
};
