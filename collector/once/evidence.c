// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/once/evidence.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/hash.h"
#include "collector/flowstore/predicate.h"
#include "collector/flowstore/scan.h"
#include "collector/flowstore/shuffle.h"
#include "collector/once/address_book.h"
#include "collector/once/copies.h"
#include "collector/once/host_minutes.h"
#include "common/addr.h"
#include "common/array_size.h"
#include "common/cleanup.h"

#define MAX_BLOCKS (1u << 20) /* bits of struct sighting */

/* A record that is asked about. */
struct sighting {
	uint64_t conversation; /* of shuffle.h */
	uint64_t flow_id;
	uint64_t start_ms : 44, block : 20;
	uint64_t end_ms : 44, row : 19, sent : 1;
	uint32_t host_id;
};

struct block {
	int64_t key; /* scan_rows_key() */
	uint64_t *copies;
	size_t n; /* bits */
};

struct evidence {
	struct block *blocks;
	size_t n_blocks, max_blocks;
};

static int by_key(const void *a, const void *b)
{
	const struct block *first = a, *second = b;

	return (first->key > second->key) - (first->key < second->key);
}

/* What is read. */
enum step {
	ENDS,  /* who has told of which conversation: the bits become those that several hosts have
		*/
	TIMES, /* the rest, of these */
	ALL,   /* both at once, of all */
};

/* While it works. */
struct work {
	const struct evidence_question *q;
	enum step step;
	struct shuffle *shuffle;
	struct scan *scan;
	uint64_t seed;
	pthread_mutex_t lock;	/* of found->blocks */
	struct evidence *found; /* its blocks in order after the first step */
	bool contested;		/* set by any thread: a bit is set */
};

/* A thread that compares. */
struct worker {
	struct work *w;
	struct copies_memory *copies;
};

DEFINE_CLEANUP(struct evidence *, evidence_free)
DEFINE_CLEANUP(struct scan_rows *, scan_rows_free)

/* --- fingerprints -------------------------------------------------------------- */

static uint64_t hash_end(uint64_t seed, const uint8_t addr[16], uint32_t port)
{
	uint64_t high, low;

	memcpy(&high, addr, sizeof(high));
	memcpy(&low, addr + 8, sizeof(low));
	return hash_pair(seed, hash_pair(seed, high, low), port);
}

/* The same whichever end is src. */
static uint64_t hash_conversation(uint64_t seed, const struct flow_block *b, size_t i)
{
	uint64_t src = hash_end(seed, b->addrs[FLOW_COL_U32(b, src_addr)[i]],
				FLOW_COL_U32(b, src_port)[i]);
	uint64_t dst = hash_end(seed, b->addrs[FLOW_COL_U32(b, dst_addr)[i]],
				FLOW_COL_U32(b, dst_port)[i]);
	uint32_t proto = FLOW_COL_U32(b, proto)[i];
	bool icmp = proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
	uint64_t rest = (uint64_t)proto << 32 | (icmp ? FLOW_COL_U32(b, icmp_id)[i] : 0);
	uint64_t ends = hash_pair(seed, src < dst ? src : dst, src < dst ? dst : src);

	return hash_pair(seed, ends, rest);
}

/* --- reading ------------------------------------------------------------------- */

static const enum flow_column first_columns[] = {
	FLOW_COLUMN_host_id,
	FLOW_COLUMN_src_addr,
	FLOW_COLUMN_dst_addr,
	FLOW_COLUMN_end_reason,
};
static const enum flow_column ends_columns[] = {
	FLOW_COLUMN_src_port,
	FLOW_COLUMN_dst_port,
	FLOW_COLUMN_proto,
	FLOW_COLUMN_icmp_id,
};
static const enum flow_column times_columns[] = {
	FLOW_COLUMN_ID_OF_FEW,
	FLOW_COLUMN_end_ms,
	FLOW_COLUMN_duration_us,
	FLOW_COLUMN_direction,
};

static void add_columns(struct flow_columns *s, const enum flow_column *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		flow_columns_add(s, list[i]);
}

/* Of the rows that are asked about. */
static struct flow_columns columns_of(enum step step)
{
	struct flow_columns s = {{0}};

	add_columns(&s, ends_columns, ARRAY_SIZE(ends_columns));
	if (step != ENDS)
		add_columns(&s, times_columns, ARRAY_SIZE(times_columns));
	return s;
}

static struct block *find_block(const struct evidence *e, const struct scan_rows *rows)
{
	const struct block wanted = {.key = scan_rows_key(rows)};

	return e->n_blocks ? bsearch(&wanted, e->blocks, e->n_blocks, sizeof(wanted), by_key)
			   : NULL;
}

static int add_block(struct evidence *e, const struct scan_rows *rows, size_t *ret)
{
	uint32_t last = scan_row_number(rows, (uint32_t)rows->block.n_rows - 1);

	if (e->n_blocks == MAX_BLOCKS)
		return -E2BIG;
	if (e->n_blocks == e->max_blocks) {
		size_t max = e->max_blocks ? 2 * e->max_blocks : 64;
		struct block *blocks = realloc(e->blocks, max * sizeof(*blocks));

		if (!blocks)
			return -ENOMEM;
		e->blocks = blocks;
		e->max_blocks = max;
	}
	e->blocks[e->n_blocks] = (struct block){
		.key = scan_rows_key(rows),
		.n = last + 1,
	};
	e->blocks[e->n_blocks].copies = calloc(e->blocks[e->n_blocks].n / 64 + 1, sizeof(uint64_t));
	if (!e->blocks[e->n_blocks].copies)
		return -ENOMEM;
	*ret = e->n_blocks++;
	return 0;
}

/* At most so many. */
#define FEW_AT_ONCE 1024

static int add_few(struct work *w, struct shuffle_hand *hand, const struct scan_rows *rows,
		   const uint32_t *asked, size_t n, size_t block)
{
	const struct flow_block *b = &rows->block;
	uint64_t ids[FEW_AT_ONCE];

	if (w->step != ENDS)
		flow_block_ids(b, asked, n, ids);
	for (size_t k = 0; k < n; k++) {
		uint32_t i = asked[k];
		uint64_t conversation = hash_conversation(w->seed, b, i);
		struct sighting *s = shuffle_deal(hand, conversation);

		if (!s)
			return -ENOMEM;
		*s = (struct sighting){
			.conversation = conversation,
			.block = block,
			.row = scan_row_number(rows, i),
			.host_id = FLOW_COL_U32(b, host_id)[i],
		};
		if (w->step == ENDS)
			continue;
		s->flow_id = ids[k];
		s->end_ms = FLOW_COL_U64(b, end_ms)[i];
		s->start_ms = s->end_ms - FLOW_COL_U64(b, duration_us)[i] / 1000;
		s->sent = FLOW_COL_U32(b, direction)[i] == FLOW_DIRECTION_EGRESS;
	}
	return 0;
}

/* The rows in asked[0 .. n). */
static int add_rows(struct work *w, struct shuffle_hand *hand, const struct scan_rows *rows,
		    const uint32_t *asked, size_t n)
{
	int err = shuffle_expect(hand, n);
	size_t block = 0;

	(void)pthread_mutex_lock(&w->lock);
	if (!err && w->step == TIMES)
		block = (size_t)(find_block(w->found, rows) - w->found->blocks);
	else if (!err)
		err = add_block(w->found, rows, &block);
	(void)pthread_mutex_unlock(&w->lock);
	for (size_t k = 0; !err && k < n; k += FEW_AT_ONCE)
		err = add_few(w, hand, rows, asked + k, n - k < FEW_AT_ONCE ? n - k : FEW_AT_ONCE,
			      block);
	return err;
}

/* Catch-all records name no conversation, and each host has its own loopback. */
static bool may_be_copy(const struct flow_block *b, size_t i)
{
	return FLOW_COL_U32(b, end_reason)[i] != FLOW_END_NO_RESOURCES &&
	       !addr_is_loopback(b->addrs[FLOW_COL_U32(b, src_addr)[i]]) &&
	       !addr_is_loopback(b->addrs[FLOW_COL_U32(b, dst_addr)[i]]);
}

/* Takes the bits of the selected rows. */
static size_t find_contested(const struct work *w, const struct scan_rows *rows, uint32_t *asked)
{
	struct block *b = find_block(w->found, rows);
	size_t n = 0;

	for (size_t k = 0; b && k < rows->n_selected; k++) {
		uint32_t number = scan_row_number(rows, rows->selected[k]);

		if (number >= b->n || !(b->copies[number / 64] >> number % 64 & 1))
			continue;
		b->copies[number / 64] &= ~(UINT64_C(1) << number % 64);
		asked[n++] = rows->selected[k];
	}
	return n;
}

/* asked has room for the rows. */
static int find_asked(const struct work *w, const struct scan_rows *rows, uint32_t *asked,
		      size_t *ret_n)
{
	const struct address_book *book = w->q->book;
	size_t n = 0;
	int err = 0;

	if (w->step == TIMES) {
		*ret_n = find_contested(w, rows, asked);
		return 0;
	}
	if (book)
		err = address_book_claims_of(book, &rows->block, rows->selected, rows->n_selected,
					     asked);
	for (size_t k = 0; !err && k < rows->n_selected; k++) {
		uint32_t i = rows->selected[k];

		if ((!book || asked[k] == ADDRESS_BOOK_UNOWNED) && may_be_copy(&rows->block, i))
			asked[n++] = i;
	}
	*ret_n = n;
	return err;
}

static int read_blocks(struct shuffle_hand *hand, void *arg)
{
	struct work *w = arg;
	const struct flow_columns other = columns_of(w->step);
	cleanup(scan_rows_free_p) struct scan_rows *rows = NULL;
	cleanup(free_p) uint32_t *asked = malloc(FLOW_BLOCK_MAX_ROWS * sizeof(*asked));
	int err = asked ? 0 : -ENOMEM;

	while (!err && (err = scan_next(w->scan, &rows)) > 0) {
		size_t n = 0;

		err = find_asked(w, rows, asked, &n);
		if (!err && n > 0)
			err = scan_fetch(w->scan, rows, &other); /* 0: damaged, and noted */
		if (err > 0)
			err = add_rows(w, hand, rows, asked, n);
	}
	return err;
}

/* --- comparing ----------------------------------------------------------------- */

static int worker_open(void *arg, void **ret)
{
	struct worker *me = calloc(1, sizeof(*me));

	if (!me)
		return -ENOMEM;
	*ret = me;
	me->w = arg;
	me->copies = copies_memory_new();
	return me->copies ? 0 : -ENOMEM;
}

static void worker_close(void *worker)
{
	struct worker *me = worker;

	copies_memory_free(me->copies);
	free(me);
}

static bool have_many_hosts(const struct shuffle_group *g)
{
	const struct sighting *first = shuffle_at(g, shuffle_place(g, 0));

	for (size_t k = 1; k < g->n; k++) {
		const struct sighting *s = shuffle_at(g, shuffle_place(g, k));

		if (s->host_id != first->host_id)
			return true;
	}
	return false;
}

static void set_bit(struct work *w, const struct sighting *s)
{
	(void)__atomic_fetch_or(&w->found->blocks[s->block].copies[s->row / 64],
				UINT64_C(1) << s->row % 64, __ATOMIC_RELAXED);
}

static void note_copies(const struct worker *me, const struct shuffle_group *g)
{
	size_t n = copies_find(me->copies, me->w->q->since_ms);
	const uint32_t *copies = copies_list(me->copies);

	for (size_t k = 0; k < n; k++)
		set_bit(me->w, shuffle_at(g, copies[k]));
}

static int compare(void *worker, const struct shuffle_group *g)
{
	struct worker *me = worker;
	int err = 0;

	if (!have_many_hosts(g))
		return 0;
	if (me->w->step == ENDS) {
		for (size_t k = 0; k < g->n; k++)
			set_bit(me->w, shuffle_at(g, shuffle_place(g, k)));
		__atomic_store_n(&me->w->contested, true, __ATOMIC_RELAXED);
		return 0;
	}
	for (size_t k = 0; !err && k < g->n; k++) {
		const struct sighting *s = shuffle_at(g, shuffle_place(g, k));

		err = copies_add(me->copies, &(struct copies_record){
						     .conversation = s->conversation,
						     .flow_id = s->flow_id,
						     .start_ms = (int64_t)s->start_ms,
						     .end_ms = (int64_t)s->end_ms,
						     .skew_ms = host_minutes_skew(
							     me->w->q->presence, s->host_id),
						     .host_id = s->host_id,
						     .sent = s->sent,
						     .number = shuffle_place(g, k),
					     });
	}
	if (!err)
		note_copies(me, g);
	return err;
}

/* --- both ---------------------------------------------------------------------- */

static int read_sightings(const struct scan_rows *rows, struct work *w)
{
	struct flow_columns columns = {{0}};
	int err;

	add_columns(&columns, first_columns, ARRAY_SIZE(first_columns));
	if (w->q->book)
		address_book_columns(&columns);
	err = scan_open_beside(rows, w->q->predicate, &columns, &w->scan);
	if (err)
		return err;
	err = shuffle_collect(w->shuffle, read_blocks, w);
	scan_close(w->scan);
	return err;
}

static int take_step(const struct scan_rows *rows, struct work *w)
{
	static const struct shuffle_visitor compare_all = {worker_open, compare, worker_close};
	struct evidence *e = w->found;
	int err = shuffle_new(sizeof(struct sighting), w->q->max_records, &w->shuffle);

	if (!err)
		err = read_sightings(rows, w);
	if (!err)
		err = shuffle_visit(w->shuffle, &compare_all, w);
	shuffle_free(w->shuffle);
	if (!err && e->n_blocks > 0)
		qsort(e->blocks, e->n_blocks, sizeof(*e->blocks), by_key);
	return err;
}

/*
 * Whether one row of so many matches, as far as a block can tell: then reading a column
 * costs more than reading these rows twice.
 */
#define FEW_ONE_OF 32

static bool few_match(const struct scan_rows *rows)
{
	size_t n = rows->block.n_rows;

	return rows->numbers && n <= scan_row_number(rows, (uint32_t)n - 1) / FEW_ONE_OF;
}

static int gather(const struct scan_rows *rows, struct work *w)
{
	int err;

	w->step = few_match(rows) ? ENDS : ALL;
	err = take_step(rows, w);
	if (err || !w->contested)
		return err;
	w->step = TIMES;
	return take_step(rows, w);
}

int evidence_gather(const struct scan_rows *rows, const struct evidence_question *q,
		    struct evidence **ret)
{
	cleanup(evidence_free_p) struct evidence *e = calloc(1, sizeof(*e));
	struct work w = {
		.q = q, .found = e, .seed = hash_seed(), .lock = PTHREAD_MUTEX_INITIALIZER};
	int err = e ? gather(rows, &w) : -ENOMEM;

	(void)pthread_mutex_destroy(&w.lock); /* nobody holds it */
	if (!err)
		*ret = take_ptr(e);
	return err;
}

void evidence_free(struct evidence *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->n_blocks; i++)
		free(e->blocks[i].copies);
	free(e->blocks);
	free(e);
}

struct evidence_copies evidence_copies(const struct evidence *e, const struct scan_rows *rows)
{
	const struct block *found = find_block(e, rows);

	if (!found)
		return (struct evidence_copies){0};
	return (struct evidence_copies){found->copies, found->n};
}
