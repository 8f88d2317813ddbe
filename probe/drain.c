// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/drain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/flow_abi.h"
#include "common/clock.h"
#include "common/log.h"
#include "probe/datapath.h"
#include "probe/names.h"
#include "probe/payload_reader.h"
#include "probe/siphash.h"
#include "probe/stack.h"
#include "probe/wall_clock.h"

/* A flow that has left the index and waits for its last record. */
struct ending {
	uint32_t index;
	enum flow_end_reason reason;
};

struct drain {
	const struct datapath *datapath;
	const struct datapath_table *kernel;
	struct flow_table *table;
	struct names *names;
	struct payload_reader *payloads;
	struct stack *stack; /* borrowed; NULL: a replay */
	drain_emit_fn emit;
	void *arg;
	uint64_t epoch;

	struct wall_clock clock;
	struct flow_now now;
	struct ending *endings; /* room for every slot */
	uint32_t n_endings;
	uint32_t n_used;
	struct flow_totals refused[FLOW_HOOK_MAX]; /* catch_all as last reported */
	uint64_t refused_since_ns;		   /* when that was */
	struct drain_stats stats;
};

int drain_new(const struct datapath *datapath, const struct flow_table_config *config,
	      drain_emit_fn emit, void *arg, struct drain **ret)
{
	struct flow_table_config sized = *config;
	struct drain *d;
	int err;

	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->datapath = datapath;
	d->kernel = datapath_table(datapath);
	d->emit = emit;
	d->arg = arg;
	d->epoch = config->epoch;
	d->refused_since_ns = clock_mono_ns();
	sized.n_slots = d->kernel->n_slots;
	d->endings = calloc(sized.n_slots, sizeof(*d->endings));
	err = d->endings ? flow_table_new(&sized, &d->table) : -ENOMEM;
	if (!err)
		err = names_new(sized.n_slots, &d->names);
	if (!err)
		err = payload_reader_open(datapath_payloads_fd(datapath), d->names, &d->payloads);
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
	payload_reader_close(d->payloads);
	names_free(d->names);
	flow_table_free(d->table);
	free(d->endings);
	free(d);
}

void drain_set_stack(struct drain *d, struct stack *stack)
{
	d->stack = stack;
}

const struct drain_stats *drain_stats(const struct drain *d)
{
	return &d->stats;
}

const struct wall_clock *drain_wall_clock(const struct drain *d)
{
	return &d->clock;
}

void drain_payloads(struct drain *d)
{
	payload_reader_consume(d->payloads);
}

int drain_payloads_fd(const struct drain *d)
{
	return payload_reader_fd(d->payloads);
}

const uint64_t *drain_names_counters(const struct drain *d)
{
	return names_counters(d->names);
}

static void emit(struct drain *d, const struct flow_record *r, const struct flow_view *v)
{
	d->stats.records++;
	d->emit(r, v, d->arg);
}

/*
 * The extremes of the next record. A program that stores one at this moment
 * moves it into the record before or after, or out of both; counts and sums,
 * which are never reset, lose nothing.
 */
static void begin_interval(const struct datapath_table *k, uint32_t index)
{
	k->slots[index].response_max_us = 0;
	for (int half = 0; half < 2; half++) {
		k->perf[index].half[half].rtt_min_us = 0;
		k->perf[index].half[half].rtt_max_us = 0;
	}
}

/* Of a slot as the programs have it: copied first, with what the lanes have. */
static void report(struct drain *d, const struct flow_view *live, enum flow_end_reason reason)
{
	struct flow_slot copy;
	const struct flow_view whole = {live->index, &copy, live->perf}, *v = &whole;
	struct flow_record r;

	flow_slot_read(live->slot, live->perf, &copy);
	flow_table_report(d->table, v, &d->now, reason, &r);
	names_fill(d->names, v->index, reason, &r);
	stack_fill(d->stack, v, reason, &r);
	if (reason == FLOW_END_ACTIVE)
		begin_interval(d->kernel, v->index);
	emit(d, &r, v);
}

/* --- flows that have ended ---------------------------------------------------- */

/* Out of the index: packets to come open another flow. */
static void unlink_slot(struct drain *d, uint32_t index, enum flow_end_reason reason)
{
	uint32_t place = d->kernel->slots[index].place;
	struct flow_bucket *b = &d->kernel->buckets[place >> FLOW_WAY_BITS];

	__atomic_store_n(&b->tag[place & ((1u << FLOW_WAY_BITS) - 1)], 0, __ATOMIC_SEQ_CST);
	d->endings[d->n_endings++] = (struct ending){index, reason};
}

static void give_back(const struct datapath_table *k, uint32_t index)
{
	struct flow_free_ring *ring = &k->ring[0];

	memset(&k->slots[index], 0, sizeof(k->slots[index]));
	memset(&k->perf[index], 0, sizeof(k->perf[index]));
	k->ring[1 + (ring->tail & (k->n_slots - 1))].head = index;
	__atomic_store_n(&ring->tail, ring->tail + 1, __ATOMIC_RELEASE);
}

/* Once the programs that had found the slots are done, reads them for the last time. */
static void take_out(struct drain *d)
{
	if (d->n_endings == 0)
		return;
	datapath_settle();
	drain_payloads(d); /* nothing of these flows comes after this */
	stack_consume(d->stack);
	for (uint32_t i = 0; i < d->n_endings; i++) {
		uint32_t index = d->endings[i].index;
		struct flow_view v = {index, &d->kernel->slots[index], &d->kernel->perf[index]};

		report(d, &v, d->endings[i].reason);
		give_back(d->kernel, index);
	}
	d->n_endings = 0;
}

/* --- reading the table --------------------------------------------------------- */

static void look_at(struct drain *d, const struct flow_view *v, enum drain_scope scope)
{
	enum flow_end_reason due;

	stack_look(d->stack, v);
	if (scope == DRAIN_FINAL) {
		report(d, v, FLOW_END_FORCED);
		return;
	}
	due = flow_table_due(d->table, v, &d->now);
	if (due == FLOW_END_IDLE || due == FLOW_END_DETECTED)
		unlink_slot(d, v->index, due);
	else if (due == FLOW_END_ACTIVE || scope == DRAIN_EVERY)
		report(d, v, FLOW_END_ACTIVE);
}

/* Slots from this number on have never been used: the ring begins in order. */
static uint32_t used_slots(struct drain *d)
{
	uint32_t popped = __atomic_load_n(&d->kernel->ring[0].head, __ATOMIC_ACQUIRE);

	if (popped > d->n_used) /* the count may wrap, much later */
		d->n_used = popped < d->kernel->n_slots ? popped : d->kernel->n_slots;
	return d->n_used;
}

static void read_flows(struct drain *d, enum drain_scope scope)
{
	uint32_t n = used_slots(d);

	d->stats.flows = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct flow_view v = {i, &d->kernel->slots[i], &d->kernel->perf[i]};

		if (!(__atomic_load_n(&v.slot->state, __ATOMIC_ACQUIRE) & FLOW_LIVE))
			continue;
		look_at(d, &v, scope);
		d->stats.flows++;
	}
	take_out(d);
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
	uint64_t mono_ns, real_ns;
	struct flow_now now;

	wall_clock_read(&mono_ns, &real_ns);
	if (wall_clock_sample(&d->clock, mono_ns, real_ns))
		log_warn("the wall clock was set by %+.3f s, the records follow it",
			 (double)d->clock.last_step_ms / 1e3);
	now = (struct flow_now){mono_ns, d->clock.offset_ns};
	return drain_run_at(d, scope, &now);
}

int drain_run_at(struct drain *d, enum drain_scope scope, const struct flow_now *now)
{
	int err;

	d->now = *now;
	drain_payloads(d);
	names_expire(d->names, now->mono_ns);
	stack_pass(d->stack, now->mono_ns, scope != DRAIN_DUE);
	read_flows(d, scope);
	err = read_refused(d);
	if (err)
		d->stats.errors++;
	return err;
}
