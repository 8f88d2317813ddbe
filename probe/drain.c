// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/drain.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "bpf/flow_abi.h"
#include "common/clock.h"
#include "probe/datapath.h"
#include "probe/siphash.h"

/* A lookup fills whole hash buckets: it must hold the fullest one. */
#define BATCH_FLOWS	4096u
#define BATCH_FLOWS_MAX (1u << 20)

struct drain {
	const struct datapath *datapath;
	struct flow_table *table;
	drain_emit_fn emit;
	void *arg;
	uint64_t epoch;

	struct flow_key *keys; /* batch_flows of each */
	struct flow_entry *entries;
	uint32_t batch_flows;
	uint64_t elem_flags; /* BPF_F_LOCK, 0 where the kernel refuses it */

	struct flow_now now;
	struct flow_reap reap; /* flows that look ended, to be frozen */
	enum flow_end_reason reap_reasons[FLOW_REAP_MAX];
	struct flow_totals refused[FLOW_HOOK_MAX]; /* catch_all as last reported */
	uint64_t refused_since_ns;		   /* when that was */
	struct drain_stats stats;
};

static int resize_batch(struct drain *d, uint32_t n)
{
	struct flow_entry *entries;
	struct flow_key *keys;

	keys = realloc(d->keys, n * sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	d->keys = keys;
	entries = realloc(d->entries, n * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	d->entries = entries;
	d->batch_flows = n;
	return 0;
}

int drain_new(const struct datapath *datapath, const struct flow_table_config *config,
	      drain_emit_fn emit, void *arg, struct drain **ret)
{
	struct drain *d;
	int err;

	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->datapath = datapath;
	d->emit = emit;
	d->arg = arg;
	d->epoch = config->epoch;
	d->elem_flags = BPF_F_LOCK;
	d->refused_since_ns = clock_mono_ns();
	err = flow_table_new(config, &d->table);
	if (!err)
		err = resize_batch(d, BATCH_FLOWS);
	if (err) {
		drain_free(d);
		return err;
	}
	*ret = d;
	return 0;
}

void drain_free(struct drain *d)
{
	if (!d)
		return;
	flow_table_free(d->table);
	free(d->keys);
	free(d->entries);
	free(d);
}

const struct drain_stats *drain_stats(const struct drain *d)
{
	return &d->stats;
}

static void emit(struct drain *d, const struct flow_record *r, const struct flow_entry *e)
{
	d->stats.records++;
	d->emit(r, e, d->arg);
}

static void report(struct drain *d, const struct flow_key *key, const struct flow_entry *e,
		   enum flow_end_reason reason)
{
	struct flow_record r;

	if (flow_table_report(d->table, key, e, &d->now, reason, &r) == 0)
		emit(d, &r, e);
	else
		d->stats.table_full++;
}

/* --- flows that have ended ---------------------------------------------------- */

static void take_out(struct drain *d, const struct flow_key *key, enum flow_end_reason reason)
{
	struct flow_entry e;
	int err;

	err = bpf_map_lookup_and_delete_elem_flags(datapath_flows_fd(d->datapath), key, &e,
						   d->elem_flags);
	if (err)
		d->stats.errors++; /* still there and frozen: the next run finds it */
	else
		report(d, key, &e, reason);
}

static void reap(struct drain *d)
{
	if (d->reap.n == 0)
		return;
	if (datapath_reap(d->datapath, &d->reap) != 0) {
		d->stats.errors++;
		d->reap.n = 0;
		return;
	}
	for (uint32_t i = 0; i < d->reap.n; i++)
		if (d->reap.item[i].reaped)
			take_out(d, &d->reap.item[i].key, d->reap_reasons[i]);
	d->reap.n = 0;
}

static void add_to_reap(struct drain *d, const struct flow_key *key, const struct flow_entry *e,
			enum flow_end_reason reason)
{
	uint64_t a = e->half[0].last_ns, b = e->half[1].last_ns;

	d->reap_reasons[d->reap.n] = reason;
	d->reap.item[d->reap.n++] = (struct flow_reap_item){.key = *key, .last_ns = a > b ? a : b};
	if (d->reap.n == FLOW_REAP_MAX)
		reap(d);
}

static void look_at(struct drain *d, const struct flow_key *key, const struct flow_entry *e,
		    enum drain_scope scope)
{
	enum flow_end_reason due;

	if (scope == DRAIN_FINAL) {
		report(d, key, e, FLOW_END_FORCED);
		return;
	}
	due = flow_table_due(d->table, key, e, &d->now);
	if (due == FLOW_END_IDLE || due == FLOW_END_DETECTED)
		add_to_reap(d, key, e, due);
	else if (due == FLOW_END_ACTIVE || scope == DRAIN_EVERY)
		report(d, key, e, FLOW_END_ACTIVE);
}

/* --- reading the table --------------------------------------------------------- */

/*
 * One batch after *pos; first says that there is no *pos yet. Returns how many
 * flows it read, -ENOENT past the last one, other -errno. *ret_last is set
 * with the last flows of the table.
 */
static int read_batch(struct drain *d, bool first, uint32_t *pos, bool *ret_last)
{
	for (;;) {
		LIBBPF_OPTS(bpf_map_batch_opts, opts, .elem_flags = d->elem_flags);
		uint32_t n = d->batch_flows, next = 0;
		int err;

		err = bpf_map_lookup_batch(datapath_flows_fd(d->datapath), first ? NULL : pos,
					   &next, d->keys, d->entries, &n, &opts);
		if (!err || err == -ENOENT) {
			*pos = next;
			*ret_last = err == -ENOENT;
			return (int)n;
		}
		if (err == -EINTR)
			continue;
		if (err == -EINVAL && d->elem_flags) {
			d->elem_flags = 0;
			continue;
		}
		if (err != -ENOSPC || d->batch_flows >= BATCH_FLOWS_MAX)
			return err;
		err = resize_batch(d, d->batch_flows * 2); /* a bucket has more than fits */
		if (err)
			return err;
	}
}

static int read_flows(struct drain *d, enum drain_scope scope)
{
	bool first = true, last = false;
	uint32_t pos = 0;

	d->stats.flows = 0;
	while (!last) {
		int n = read_batch(d, first, &pos, &last);

		if (n < 0)
			return n;
		for (int i = 0; i < n; i++)
			look_at(d, &d->keys[i], &d->entries[i], scope);
		d->stats.flows += (uint64_t)n;
		first = false;
	}
	reap(d);
	return 0;
}

/* --- what the full table refused ------------------------------------------------ */

static void report_refused(struct drain *d, enum flow_hook hook, const struct flow_totals *sum)
{
	struct siphash_key seed = {d->epoch, 0};
	struct flow_totals *before = &d->refused[hook];
	uint64_t offset = d->now.real_offset_ns;
	struct flow_record r = {
		.flow_id = (siphash(&seed, &hook, sizeof(hook)) >> 11) | 1,
		.start_ns = d->refused_since_ns + offset,
		.end_ns = sum->last_ns + offset,
		.direction =
			hook == FLOW_HOOK_EGRESS ? FLOW_DIRECTION_EGRESS : FLOW_DIRECTION_INGRESS,
		.end_reason = FLOW_END_NO_RESOURCES,
		.packets = sum->packets - before->packets,
		.bytes = sum->bytes - before->bytes,
		.total_packets = sum->packets,
		.total_bytes = sum->bytes,
	};

	if (r.packets == 0)
		return;
	if (r.end_ns < r.start_ns)
		r.end_ns = r.start_ns; /* counted while the run before was reading */
	*before = *sum;
	emit(d, &r, NULL);
}

static int read_refused(struct drain *d)
{
	struct flow_totals sums[FLOW_HOOK_MAX];
	int err;

	err = datapath_catch_all(d->datapath, sums);
	if (err)
		return err;
	for (int hook = 0; hook < FLOW_HOOK_MAX; hook++)
		report_refused(d, hook, &sums[hook]);
	d->refused_since_ns = d->now.mono_ns;
	return 0;
}

int drain_run(struct drain *d, enum drain_scope scope)
{
	int err, refused_err;

	d->now.mono_ns = clock_mono_ns();
	d->now.real_offset_ns = clock_real_ns() - clock_mono_ns();
	d->reap.n = 0;
	err = read_flows(d, scope);
	refused_err = read_refused(d);
	if (!err)
		err = refused_err;
	if (err)
		d->stats.errors++;
	return err;
}
