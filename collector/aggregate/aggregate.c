// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/aggregate/aggregate.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/aggregate/aggregate_private.h"
#include "collector/flowstore/hash.h"
#include "common/cleanup.h"

#define BLOCKS_A_THREAD	 4	/* fewer are read before a thread has begun */
#define SETTLED_A_THREAD 100000 /* things in sets */

DEFINE_CLEANUP(struct aggregate *, aggregate_free)
DEFINE_CLEANUP(struct scan *, scan_close)

static void add_columns(struct aggregate *a, const struct aggregate_spec *spec)
{
	for (size_t k = 0; k < spec->n_keys; k++)
		group_key_columns(&spec->keys[k], &a->columns);
	if (spec->where)
		predicate_columns(spec->where, &a->columns);
}

int aggregate_new(sqlite3 *db, const struct aggregate_spec *spec, struct aggregate **ret)
{
	cleanup(aggregate_free_p) struct aggregate *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return -ENOMEM;
	a->db = db;
	a->spec = spec;
	term_plan_make(spec->measures, spec->n_measures, &a->plan);
	add_columns(a, spec);
	term_plan_columns(&a->plan, &a->columns);
	if (spec->also) {
		term_plan_also(&a->plan, spec->also->measures, &a->also);
		add_columns(a, spec->also);
		term_plan_columns(&a->also, &a->columns);
		flow_columns_add(&a->columns, FLOW_COLUMN_src_addr); /* see mark_single() */
		flow_columns_add(&a->columns, FLOW_COLUMN_dst_addr);
	}
	a->seed = hash_seed();
	group_table_init(&a->table, spec->n_keys);
	err = group_sums_init(&a->sums, &a->plan, a->seed);
	if (!err)
		err = group_values_new(db, &a->values);
	if (err)
		return err;
	*ret = take_ptr(a);
	return 0;
}

void aggregate_free(struct aggregate *a)
{
	if (!a)
		return;
	group_table_done(&a->table);
	group_sums_done(&a->sums);
	group_values_free(a->values);
	free(a->selected);
	free(a->sums_of[0]);
	free(a->sums_of[1]);
	free(a);
}

/* --- flow ids ---------------------------------------------------------------------------- */

/* Returns 1, 0 if the block is damaged, or an error. */
static int fetch_ids(const struct aggregate_worker *w, struct scan_rows *rows)
{
	struct flow_columns ids = {{0}};

	if (!flow_columns_has(&w->a->columns, FLOW_COLUMN_ID_OF_FEW) ||
	    !aggregate_has_parts(w->a, rows))
		return 1;
	flow_columns_add(&ids, FLOW_COLUMN_ID_OF_FEW);
	return scan_fetch(w->scan, rows, &ids);
}

/* --- threads --------------------------------------------------------------------------- */

static void *work(void *arg)
{
	struct aggregate_worker *w = arg;
	struct scan_rows *rows = NULL;
	int err;

	while ((err = scan_next(w->scan, &rows)) > 0) {
		err = w->in->once ? once_select(w->in->once, &w->once, rows, &w->set_aside) : 0;
		if (!err)
			err = fetch_ids(w, rows);
		if (err > 0)
			err = aggregate_add_block(w, rows);
		if (err)
			break;
	}
	w->err = err;
	scan_rows_free(rows);
	return NULL;
}

/* As many as there is work for, and cores. */
static size_t threads_at_most(uint64_t n)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (cores > 0 && n > (uint64_t)cores)
		n = (uint64_t)cores;
	return n < AGGREGATE_MAX_THREADS ? n : AGGREGATE_MAX_THREADS;
}

static size_t threads_for(struct scan *scan)
{
	struct scan_totals t = scan_totals(scan);

	return threads_at_most((t.blocks - t.blocks_skipped) / BLOCKS_A_THREAD + 1);
}

/* The first one adds to what is there already, the others to what is joined to it at last. */
static int worker_init(struct aggregate_worker *w, struct aggregate *a,
		       const struct aggregate_input *in, struct scan *scan, bool first)
{
	*w = (struct aggregate_worker){.a = a, .in = in, .scan = scan};
	w->sums = first ? &a->sums : &w->own_sums;
	return w->err = group_sums_init(&w->own_sums, &a->plan, a->seed);
}

static int join_worker(struct aggregate *a, struct aggregate_worker *w)
{
	int err = w->err;

	if (!err && w->sums != &a->sums)
		err = group_sums_join(&a->sums, &w->own_sums, a->values);
	a->set_aside += w->set_aside;
	aggregate_worker_done(w);
	return err;
}

static void add_totals(struct scan_totals *to, const struct scan_totals *t)
{
	to->blocks += t->blocks;
	to->blocks_skipped += t->blocks_skipped;
	to->rows_read += t->rows_read;
	to->bytes_read += t->bytes_read;
	to->damaged_blocks += t->damaged_blocks;
	to->damaged_rows += t->damaged_rows;
}

/* The first is this thread; one that cannot be started is done without: work is taken, not given.
 */
static void run_threads(void *(*run)(void *), void *const *args, size_t n)
{
	pthread_t threads[AGGREGATE_MAX_THREADS];
	bool started[AGGREGATE_MAX_THREADS] = {false};

	for (size_t i = 1; i < n; i++)
		started[i] = pthread_create(&threads[i], NULL, run, args[i]) == 0;
	(void)run(args[0]);
	for (size_t i = 1; i < n; i++)
		if (started[i])
			(void)pthread_join(threads[i], NULL); /* it is one of ours */
}

int aggregate_read(struct aggregate *a, const struct aggregate_input *in)
{
	cleanup(scan_close_p) struct scan *scan = NULL;
	struct aggregate_worker workers[AGGREGATE_MAX_THREADS];
	void *args[AGGREGATE_MAX_THREADS];
	struct flow_columns columns = a->columns;
	struct scan_totals t;
	size_t n, made = 1;
	int err;

	flow_columns_remove(&columns, FLOW_COLUMN_ID_OF_FEW); /* fetched where they are needed */
	if (in->once)
		once_columns(in->once, &columns);
	err = scan_open_range(a->db, in->range, in->predicate, &columns, &scan);
	if (err)
		return err;
	n = threads_for(scan);
	err = worker_init(&workers[0], a, in, scan, true);
	for (; !err && made < n; made++)
		err = worker_init(&workers[made], a, in, scan, false);
	for (size_t i = 0; i < AGGREGATE_MAX_THREADS; i++)
		args[i] = &workers[i];
	if (!err)
		run_threads(work, args, n);
	for (size_t i = 0; i < made; i++) {
		int joined = join_worker(a, &workers[i]);

		err = err ? err : joined;
	}
	t = scan_totals(scan);
	add_totals(&a->totals, &t);
	return err;
}

/* --- sums instead of records ------------------------------------------------------------ */

struct flow_columns aggregate_columns(const struct aggregate *a)
{
	return a->columns;
}

static bool is_of_sums(const struct measure *m)
{
	switch (m->kind) {
	case MEASURE_SUM:
	case MEASURE_SHARE:
	case MEASURE_PERCENT:
	case MEASURE_DIFFERENCE:
	case MEASURE_CHANGE:
		return !m->where && (!m->of || is_of_sums(m->of));
	default:
		return false;
	}
}

void aggregate_set_aside(struct aggregate *a, uint64_t n)
{
	a->set_aside += n;
}

bool aggregate_takes_sums(const struct aggregate *a)
{
	const struct aggregate_spec *spec = a->spec;
	bool takes = !spec->also && !spec->where;

	for (size_t m = 0; takes && m < spec->n_measures; m++)
		takes = is_of_sums(&spec->measures[m]);
	return takes;
}

int aggregate_add_sums(struct aggregate *a, const struct aggregate_input *in,
		       const struct flow_block *b, const uint32_t *selected, size_t n)
{
	const struct scan_rows rows = {.block = *b, .selected = selected, .n_selected = n};
	struct aggregate_worker w;
	int err = worker_init(&w, a, in, NULL, true), joined;

	if (!err)
		w.err = aggregate_add_block(&w, &rows);
	joined = join_worker(a, &w);
	return err ? err : joined;
}

struct scan_totals aggregate_totals(const struct aggregate *a, uint64_t *ret_set_aside)
{
	*ret_set_aside = a->set_aside;
	return a->totals;
}

struct settling {
	struct group_sums *sums;
	size_t next; /* part */
	int err;     /* of any thread */
};

static void *settle(void *arg)
{
	struct settling *s = arg;
	size_t part;

	while ((part = __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED)) < DISTINCT_PARTS) {
		int err = group_sums_settle(s->sums, part);

		if (err)
			__atomic_store_n(&s->err, err, __ATOMIC_RELAXED);
	}
	return NULL;
}

int aggregate_finish(struct aggregate *a)
{
	struct settling s = {.sums = &a->sums};
	void *args[AGGREGATE_MAX_THREADS];
	int err = group_sums_reserve(&a->sums, a->table.n);

	if (err)
		return err;
	for (size_t i = 0; i < AGGREGATE_MAX_THREADS; i++)
		args[i] = &s;
	run_threads(settle, args,
		    threads_at_most(group_sums_in_sets(&a->sums) / SETTLED_A_THREAD + 1));
	return s.err ? s.err : group_sums_finish(&a->sums);
}

size_t aggregate_n_groups(const struct aggregate *a)
{
	return a->table.n;
}
