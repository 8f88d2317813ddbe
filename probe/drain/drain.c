// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/drain/drain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/flow_abi.h"
#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "probe/datapath/datapath.h"
#include "probe/datapath/settlement.h"
#include "probe/datapath/siphash.h"
#include "probe/datapath/slots.h"
#include "probe/drain/payload_reader.h"
#include "probe/drain/wall_clock.h"
#include "probe/names/names.h"
#include "probe/stack/stack.h"

/* A flow that has left the index and waits for its last record. */
struct ending {
	uint32_t index;
	enum flow_end_reason reason;
};

/* How a slot stands. */
enum {
	SLOT_UNLINKED = 1, /* out of the index */
	SLOT_LEAVING = 2,  /* its last record is made, but not stored */
	SLOT_DIRTY = 4,	   /* reported since the last seal */
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
	uint8_t *flags; /* SLOT_ bits for every slot */

	/* What happens to slots once their records are stored; each has room for every slot. */
	struct settlement *settlement; /* NULL: records are stored when they are made */
	uint32_t *dirty;
	uint32_t *leaving; /* the first n_sealed of them are of the group that was sealed last */
	uint32_t n_dirty, n_leaving, n_sealed;
	uint64_t group; /* sealed last */
	struct settled_sums base;
	uint64_t recorded_packets;

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
	d->flags = calloc(sized.n_slots, sizeof(*d->flags));
	err = d->endings && d->flags ? flow_table_new(&sized, &d->table) : -ENOMEM;
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
	free(d->flags);
	free(d->dirty);
	free(d->leaving);
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
	d->recorded_packets += r->packets + r->rev_packets;
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

/* What was reported of the slot has changed. */
static void note_report(struct drain *d, uint32_t index)
{
	if (!d->settlement || d->flags[index] & SLOT_DIRTY)
		return;
	d->flags[index] |= SLOT_DIRTY;
	d->dirty[d->n_dirty++] = index;
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
	note_report(d, v->index);
	emit(d, &r, v);
}

/* --- flows that have ended ---------------------------------------------------- */

static void unlink_slot(struct drain *d, uint32_t index, enum flow_end_reason reason)
{
	slots_unlink(d->kernel, index);
	d->flags[index] |= SLOT_UNLINKED;
	d->endings[d->n_endings++] = (struct ending){index, reason};
}

static void give_back(struct drain *d, uint32_t index)
{
	slots_clear(d->kernel, index);
	FAILPOINT("slot_cleared");
	if (d->settlement)
		settlement_forget(d->settlement, index);
	FAILPOINT("slot_forgotten");
	d->flags[index] = 0;
	slots_give_back(d->kernel, index);
	FAILPOINT("slot_given_back");
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
		if (!d->settlement) {
			give_back(d, index);
			continue;
		}
		d->flags[index] |= SLOT_LEAVING;
		d->leaving[d->n_leaving++] = index;
	}
	d->n_endings = 0;
}

/* --- reading the table --------------------------------------------------------- */

static void look_at(struct drain *d, const struct flow_view *v, enum drain_scope scope)
{
	enum flow_end_reason due;

	stack_look(d->stack, v);
	if (scope == DRAIN_FINAL && d->settlement) { /* as if it had ended: it may be killed yet */
		unlink_slot(d, v->index, FLOW_END_FORCED);
		return;
	}
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

/* Slots: a pass waits for memory, and the processor does not see four lines ahead by itself. */
#define READ_AHEAD 16

static void read_flows(struct drain *d, enum drain_scope scope)
{
	uint32_t n = used_slots(d);

	d->stats.flows = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct flow_view v = {i, &d->kernel->slots[i], &d->kernel->perf[i]};

		__builtin_prefetch(&v.slot[READ_AHEAD]); /* past the end does no harm */
		if (!slots_live(d->kernel, i) || d->flags[i] & (SLOT_UNLINKED | SLOT_LEAVING))
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

/* --- what is stored ---------------------------------------------------------------- */

uint64_t drain_seal(struct drain *d, const uint64_t counters[FLOW_CNT_MAX])
{
	struct settled_sums sums = {.recorded_packets = d->recorded_packets};

	if (!d->settlement)
		return ++d->group;
	d->group = settlement_next(d->settlement);
	for (uint32_t i = 0; i < d->n_dirty; i++) {
		uint32_t index = d->dirty[i];

		settlement_mark(d->settlement, index, flow_table_reported(d->table, index),
				d->flags[index] & SLOT_LEAVING);
		d->flags[index] &= (uint8_t)~SLOT_DIRTY;
		FAILPOINT("sealing");
	}
	d->n_dirty = 0;
	d->n_sealed = d->n_leaving;
	memcpy(sums.counters, counters, sizeof(sums.counters));
	memcpy(sums.refused, d->refused, sizeof(sums.refused));
	settlement_seal(d->settlement, &sums);
	FAILPOINT("sealed");
	return d->group;
}

uint64_t drain_group(const struct drain *d)
{
	return d->group;
}

void drain_settled(struct drain *d, uint64_t group)
{
	if (d->n_sealed == 0 || group < d->group)
		return;
	FAILPOINT("settled");
	for (uint32_t i = 0; i < d->n_sealed; i++)
		give_back(d, d->leaving[i]);
	FAILPOINT("given_back");
	d->n_leaving -= d->n_sealed;
	memmove(d->leaving, d->leaving + d->n_sealed, d->n_leaving * sizeof(*d->leaving));
	d->n_sealed = 0;
}

const uint64_t *drain_base_counters(const struct drain *d)
{
	return d->base.counters;
}

/* --- what a killed process has left -------------------------------------------------- */

enum {
	FOUND_FREE = 1,	    /* in the ring of free slots */
	FOUND_LIVE = 2,	    /* holds a flow */
	FOUND_UNLINKED = 4, /* and the index does not lead to it: yet, or any more */
	FOUND_DONE = 8,	    /* and its last record is stored */
};

static uint8_t look_again(struct drain *d, uint32_t index)
{
	bool ended;
	const void *reported = settlement_recall(d->settlement, index, &ended);

	if (ended)
		return FOUND_LIVE | FOUND_DONE;
	if (reported)
		memcpy(flow_table_reported(d->table, index), reported, flow_table_reported_bytes());
	return slots_linked(d->kernel, index) ? FOUND_LIVE : FOUND_LIVE | FOUND_UNLINKED;
}

static void repair(struct drain *d, uint32_t index, uint8_t found)
{
	bool live = slots_live(d->kernel, index);

	if (found & FOUND_DONE || (!live && !(found & FOUND_FREE)))
		give_back(d, index); /* it was taken out of the index before its last record */
	else if (live && found & FOUND_UNLINKED && !slots_linked(d->kernel, index))
		unlink_slot(d, index, FLOW_END_IDLE);
}

/*
 * The programs go on meanwhile. A slot that was no longer free when we began is
 * a flow, linked, a grace period later; one that was neither then was lost when
 * the process before was killed between two steps.
 */
static int recover(struct drain *d)
{
	uint32_t n = d->kernel->n_slots;
	uint8_t *found = calloc(n, sizeof(*found));
	int err = found ? slots_free_now(d->kernel, found) : -ENOMEM;

	for (uint32_t i = 0; !err && i < n; i++)
		if (slots_live(d->kernel, i))
			found[i] |= look_again(d, i);
	datapath_settle();
	for (uint32_t i = 0; !err && i < n; i++)
		repair(d, i, found[i]);
	free(found);
	return err;
}

int drain_settle(struct drain *d, struct settlement *s, const struct spool_settled *known)
{
	d->dirty = calloc(d->kernel->n_slots, sizeof(*d->dirty));
	d->leaving = calloc(d->kernel->n_slots, sizeof(*d->leaving));
	if (!d->dirty || !d->leaving)
		return -ENOMEM;
	d->settlement = s;
	settlement_resume(s, known);
	d->base = settlement_sums(s);
	memcpy(d->refused, d->base.refused, sizeof(d->refused));
	d->recorded_packets = d->base.recorded_packets;
	d->group = settlement_next(s) - 1;
	return recover(d);
}
