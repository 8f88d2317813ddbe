// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/report/report_groups.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "collector/cli/coverage.h"
#include "collector/once/once.h"
#include "collector/report/report.h"
#include "collector/report/report_where.h"
#include "collector/rollup/rollup_reader.h"
#include "collector/store/db.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"

/* What an answer came from, for its notes. */
struct report_sources {
	uint64_t hours, minutes, unsure; /* rollup_reader.h */
};

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(struct aggregate *, aggregate_free)
DEFINE_CLEANUP(struct once *, once_close)
DEFINE_CLEANUP(struct output *, output_free)

/* --- keys --------------------------------------------------------------------------- */

static void say_columns(const char *name)
{
	size_t n;
	const struct flows_column *c = flows_columns(&n);
	struct group_key key;

	log_error("--by %s: not one of the columns", name);
	fprintf(stderr, " ");
	for (size_t i = 0; i < n; i++)
		if (group_key_find(c[i].name, &key))
			fprintf(stderr, " %s", c[i].name);
	fprintf(stderr, " src_net dst_net (/24 and /64, or as in src_net/16/48)\n");
}

int report_set_keys(const struct option_list *by, const char *allowed, struct report_question *q)
{
	int code = allowed ? report_check_keys(by, allowed) : EXIT_OK;

	if (code)
		return code;
	if (by->n == 0 || by->n > REPORT_MAX_KEYS) {
		log_error("--by takes one to %d columns", REPORT_MAX_KEYS);
		return EXIT_USAGE;
	}
	q->n_keys = by->n;
	for (size_t i = 0; i < by->n; i++) {
		q->keys[i].name = by->items[i];
		if (!group_key_find(by->items[i], &q->keys[i].key)) {
			say_columns(by->items[i]);
			return EXIT_USAGE;
		}
	}
	return EXIT_OK;
}

/* --- reading --------------------------------------------------------------------- */

static int fail(sqlite3 *db, int err)
{
	if (err != -EOVERFLOW)
		return cli_fail(db, err);
	log_error("a sum is past 2^63, or there are too many groups: ask for less");
	return EXIT_RUNTIME;
}

/* A window that is being read. */
struct reading {
	const struct cli_settings *settings;
	sqlite3 *db;
	struct aggregate *a;
	const struct report_question *q;
	const struct aggregate_spec *spec;
	struct report_sources *sources;
};

/* From the rollups what they answer exactly. Returns 1, 0 if that is nothing, or an error. */
static int read_rollups(struct reading *r, const struct report_where *where,
			const struct report_pass *pass, const struct aggregate_input *in)
{
	const struct rollup_question q = {.since_ms = pass->since_ms,
					  .until_ms = pass->until_ms,
					  .conditions = where->children + REPORT_WHERE_CONDITIONS,
					  .n_conditions =
						  where->all.n_children - REPORT_WHERE_CONDITIONS};
	struct rollup_use use = {0};
	int found = r->settings->no_rollups ? 0 : rollup_read(r->db, r->a, r->spec, in, &q, &use);

	r->sources->hours += use.hours;
	r->sources->minutes += use.minutes;
	r->sources->unsure += use.unsure;
	return found;
}

/* One window, each conversation once. */
static int read_window(struct reading *r, const struct report_pass *pass, unsigned number, int argc,
		       char **argv)
{
	cleanup(report_where_done) struct report_where where = {0};
	cleanup(once_close_p) struct once *once = NULL;
	struct aggregate_input in = {.pass = number, .known_groups = pass->known_groups};
	int code, err;

	code = report_where_init(&where, r->db, pass->since_ms, pass->until_ms,
				 pass->everything ? 0 : argc, argv);
	if (code)
		return code;
	err = pass->everything ? 0 : once_open(r->db, report_where_and(&where, NULL), &once);
	in.predicate = report_where_and(&where, r->q->where);
	in.once = once;
	if (!err)
		err = read_rollups(r, &where, pass, &in);
	if (err == 0)
		err = aggregate_read(r->a, &in);
	return err < 0 ? fail(r->db, err) : EXIT_OK;
}

/* Up to what is printed: of *ret, for aggregate_free(), of an open transaction. */
static int report_aggregate(const struct cli_settings *s, sqlite3 *db, int argc, char **argv,
			    const struct report_question *q, const struct aggregate_spec *spec,
			    struct report_sources *sources, struct aggregate **ret)
{
	cleanup(aggregate_free_p) struct aggregate *a = NULL;
	const struct report_pass window = {.since_ms = s->since_ms, .until_ms = s->until_ms};
	int code, err = aggregate_new(db, spec, &a);
	struct reading r = {s, db, a, q, spec, sources};

	if (err)
		return fail(db, err);
	code = read_window(&r, &window, 0, argc, argv);
	for (unsigned i = 0; !code && i < q->n_passes; i++)
		code = read_window(&r, &q->passes[i], i + 1, argc, argv);
	if (code)
		return code;
	err = aggregate_finish(a);
	if (err)
		return fail(db, err);
	*ret = take_ptr(a);
	return EXIT_OK;
}

/* --- printing ---------------------------------------------------------------------- */

static void print_value(struct output *o, const struct aggregate_value *v)
{
	switch (v->type) {
	case AGGREGATE_INT:
		output_int(o, v->integer);
		break;
	case AGGREGATE_REAL:
		output_double(o, v->real);
		break;
	case AGGREGATE_TEXT:
		output_str(o, v->text);
		break;
	case AGGREGATE_NULL:
		output_null(o);
		break;
	}
}

static void print_measures(struct output *o, const struct report_question *q, struct aggregate *a,
			   uint32_t group)
{
	for (size_t m = 0; m < q->n_measures; m++) {
		struct aggregate_value v;

		if (!q->measures[m].name)
			continue;
		v = aggregate_value(a, group, m);
		print_value(o, &v);
	}
}

/* A row under a name in the place of the keys. */
static void print_rest(struct output *o, const struct report_question *q, struct aggregate *a,
		       uint32_t group, const char *name)
{
	output_str(o, name);
	for (size_t k = 1; k < q->n_keys; k++)
		output_null(o);
	print_measures(o, q, a, group);
}

static void print_groups(struct output *o, const struct report_question *q, struct aggregate *a,
			 const uint32_t *groups, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (q->only_new && aggregate_value(a, groups[i], q->orders[0].measure).integer > 0)
			break;
		for (size_t k = 0; k < q->n_keys; k++) {
			char buffer[GROUP_KEY_TEXT_MAX];
			struct aggregate_value v = aggregate_key(a, groups[i], k, buffer);

			print_value(o, &v);
		}
		print_measures(o, q, a, groups[i]);
	}
	if (q->rest && n < aggregate_n_groups(a))
		print_rest(o, q, a, AGGREGATE_OTHER, "(other)");
	if (q->rest && n)
		print_rest(o, q, a, AGGREGATE_TOTAL, "(total)");
}

static int print(const struct cli_settings *s, const struct report_question *q, struct aggregate *a)
{
	struct output_column columns[REPORT_MAX_KEYS + MEASURE_LIMIT];
	cleanup(output_free_p) struct output *o = NULL;
	cleanup(free_p) uint32_t *groups = NULL;
	size_t n = 0, n_columns = 0;
	int err = aggregate_select(a, q->orders, q->n_orders, s->limit, &groups, &n);

	for (size_t k = 0; k < q->n_keys; k++)
		columns[n_columns++] = (struct output_column){q->keys[k].name, UNIT_NONE};
	for (size_t m = 0; m < q->n_measures; m++)
		if (q->measures[m].name)
			columns[n_columns++] =
				(struct output_column){q->measures[m].name, q->measures[m].unit};
	if (!err)
		err = output_begin(stdout, s->format, s->raw_numbers, columns, n_columns, &o);
	if (err)
		return err;
	print_groups(o, q, a, groups, n);
	return output_end(take_ptr(o));
}

static void print_sources(const struct report_sources *from)
{
	if (from->hours || from->minutes)
		log_info("from sums of whole hours (%" PRIu64 ") and minutes (%" PRIu64
			 "), the rest from flow records",
			 from->hours, from->minutes);
	if (from->unsure)
		log_info("%" PRIu64 " of these sums have conversations of which only the records, "
			 "which are deleted, would tell whether they count",
			 from->unsure);
}

static void print_notes(const struct cli_settings *s, sqlite3 *db, const struct aggregate *a,
			const struct report_sources *sources)
{
	uint64_t set_aside;

	if (s->quiet)
		return;
	print_sources(sources);
	coverage_print(db, s->since_ms, s->until_ms);
	(void)aggregate_totals(a, &set_aside); /* what is damaged the log has said */
	if (set_aside)
		log_info("counted once: %" PRIu64 " records set aside as another host's copy "
			 "of the same conversation",
			 set_aside);
}

int report_answer_groups(const struct cli_settings *s, int argc, char **argv,
			 const struct report_question *q)
{
	cleanup(db_close_p) sqlite3 *db = NULL;
	cleanup(aggregate_free_p) struct aggregate *a = NULL;
	struct report_sources sources = {0};
	struct measure measures[MEASURE_LIMIT];
	struct aggregate_spec spec = {
		.n_keys = q->n_keys,
		.n_measures = q->n_measures,
		.measures = measures,
		.where = q->way,
		.also = q->also,
	};
	int code, err;

	for (size_t k = 0; k < q->n_keys; k++)
		spec.keys[k] = q->keys[k].key;
	for (size_t m = 0; m < q->n_measures; m++)
		measures[m] = q->measures[m].measure;
	code = cli_open(s, &db);
	if (!code)
		code = cli_exec(db, "BEGIN"); /* all is read at one moment */
	if (!code)
		code = report_aggregate(s, db, argc, argv, q, &spec, &sources, &a);
	if (code)
		return code;
	err = print(s, q, a);
	if (err)
		return cli_fail(db, err);
	print_notes(s, db, a, &sources);
	return EXIT_OK;
}
