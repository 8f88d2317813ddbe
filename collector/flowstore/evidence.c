// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/evidence.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "collector/flowstore/address_book.h"
#include "collector/flowstore/copies.h"
#include "collector/flowstore/predicate.h"
#include "collector/flowstore/presence.h"
#include "collector/flowstore/radix.h"
#include "collector/flowstore/scan.h"
#include "common/addr.h"
#include "common/cleanup.h"

#define MAX_THREADS   8
#define MAX_BLOCKS    (1u << 20) /* bits of struct sighting */
#define PART_BITS     9		 /* what is sorted at a time stays in the cache */
#define N_PARTS	      (1u << PART_BITS)
#define KEY_MASK      ((UINT64_C(1) << 33) - 1) /* three digits of radix_order() */
#define CHUNK_RECORDS 63

/* A record that is asked about. */
struct sighting {
	uint64_t conversation;
	uint64_t flow_id;
	uint64_t start_ms : 44, block : 20;
	uint64_t end_ms : 44, row : 19, sent : 1;
	uint32_t host_id;
};

struct chunk {
	struct chunk *next;
	size_t n;
	struct sighting records[CHUNK_RECORDS];
};

/* Those whose conversation begins with the same bits; the first chunk is not full. */
struct part {
	struct chunk *first, *last;
};

struct block {
	int64_t key; /* what scan_rows_key() of all its rows has in common */
	uint64_t *copies;
	size_t n; /* bits */
};

struct evidence {
	struct block *blocks;
	size_t n_blocks, max_blocks;
};

/* While it works. */
struct work {
	const struct evidence_question *q;
	struct evidence *found;
	struct scan *scan;
	uint64_t seed[2];
	pthread_mutex_t lock; /* of all below, and of found->blocks */
	size_t n;
	struct part parts[N_PARTS];
	size_t next_part;
	int err;
};

/* A part of them, in a row, of one thread. */
struct desk {
	struct sighting *records;
	uint64_t *keys;
	uint32_t *order;
	size_t max;
	struct copies_memory *copies;
};

DEFINE_CLEANUP(struct evidence *, evidence_free)
DEFINE_CLEANUP(struct scan_rows *, scan_rows_free)

static void fail(struct work *w, int err)
{
	(void)pthread_mutex_lock(&w->lock);
	if (!w->err)
		w->err = err;
	(void)pthread_mutex_unlock(&w->lock);
}

/* --- fingerprints -------------------------------------------------------------- */

static inline uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_end(const struct work *w, const uint8_t addr[16], uint32_t port)
{
	uint64_t high, low;

	memcpy(&high, addr, sizeof(high));
	memcpy(&low, addr + 8, sizeof(low));
	return mix(mix(high ^ w->seed[0], low ^ w->seed[1]) ^ port, 0x9e3779b97f4a7c15);
}

/* The same whichever end is src. */
static uint64_t hash_conversation(const struct work *w, const struct flow_block *b, size_t i)
{
	uint64_t src =
		hash_end(w, b->addrs[FLOW_COL_U32(b, src_addr)[i]], FLOW_COL_U32(b, src_port)[i]);
	uint64_t dst =
		hash_end(w, b->addrs[FLOW_COL_U32(b, dst_addr)[i]], FLOW_COL_U32(b, dst_port)[i]);
	uint32_t proto = FLOW_COL_U32(b, proto)[i];
	bool icmp = proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
	uint64_t rest = (uint64_t)proto << 32 | (icmp ? FLOW_COL_U32(b, icmp_id)[i] : 0);

	return mix(mix(src < dst ? src : dst, w->seed[0] ^ rest) ^ (src < dst ? dst : src),
		   w->seed[1]);
}

/* --- reading ------------------------------------------------------------------- */

static const enum flow_column ends_columns[] = {
	FLOW_COLUMN_host_id,  FLOW_COLUMN_end_ms,     FLOW_COLUMN_src_addr,
	FLOW_COLUMN_dst_addr, FLOW_COLUMN_end_reason,
};
static const enum flow_column other_columns[] = {
	FLOW_COLUMN_flow_id, FLOW_COLUMN_start_ms, FLOW_COLUMN_src_port,  FLOW_COLUMN_dst_port,
	FLOW_COLUMN_proto,   FLOW_COLUMN_icmp_id,  FLOW_COLUMN_direction,
};
#define N_OTHER (sizeof(other_columns) / sizeof(other_columns[0]))

static uint32_t first_row(const struct scan_rows *rows)
{
	return (uint32_t)scan_rows_key(rows) & ((1u << SCAN_ROW_BITS) - 1);
}

/* A number for the block of n more. */
static int add_block(struct work *w, const struct scan_rows *rows, size_t n, size_t *ret)
{
	struct evidence *e = w->found;

	if (w->n + n > w->q->max_records || e->n_blocks == MAX_BLOCKS)
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
		.key = scan_rows_key(rows) >> SCAN_ROW_BITS,
		.n = first_row(rows) + rows->block.n_rows,
	};
	e->blocks[e->n_blocks].copies = calloc(e->blocks[e->n_blocks].n / 64 + 1, sizeof(uint64_t));
	if (!e->blocks[e->n_blocks].copies)
		return -ENOMEM;
	*ret = e->n_blocks++;
	w->n += n;
	return 0;
}

static int add_sighting(struct part parts[N_PARTS], const struct sighting *s)
{
	struct part *p = &parts[s->conversation >> (64 - PART_BITS)];
	struct chunk *c = p->first;

	if (!c || c->n == CHUNK_RECORDS) {
		c = malloc(sizeof(*c));
		if (!c)
			return -ENOMEM;
		c->n = 0;
		c->next = p->first;
		p->first = c;
		p->last = p->last ? p->last : c;
	}
	c->records[c->n++] = *s;
	return 0;
}

/* The rows in asked[0 .. n). */
static int add_rows(struct work *w, struct part parts[N_PARTS], const struct scan_rows *rows,
		    const uint32_t *asked, size_t n)
{
	const struct flow_block *b = &rows->block;
	size_t block = 0;
	int err;

	(void)pthread_mutex_lock(&w->lock);
	err = w->err ? w->err : add_block(w, rows, n, &block);
	(void)pthread_mutex_unlock(&w->lock);
	for (size_t k = 0; !err && k < n; k++) {
		uint32_t i = asked[k];
		const struct sighting s = {
			.conversation = hash_conversation(w, b, i),
			.flow_id = FLOW_COL_U64(b, flow_id)[i],
			.start_ms = FLOW_COL_U64(b, start_ms)[i],
			.block = block,
			.end_ms = FLOW_COL_U64(b, end_ms)[i],
			.row = first_row(rows) + i,
			.sent = FLOW_COL_U32(b, direction)[i] == FLOW_DIRECTION_EGRESS,
			.host_id = FLOW_COL_U32(b, host_id)[i],
		};

		err = add_sighting(parts, &s);
	}
	return err;
}

/* Catch-all records name no conversation, and each host has its own loopback. */
static bool may_be_copy(const struct flow_block *b, size_t i)
{
	return FLOW_COL_U32(b, end_reason)[i] != FLOW_END_NO_RESOURCES &&
	       !addr_is_loopback(b->addrs[FLOW_COL_U32(b, src_addr)[i]]) &&
	       !addr_is_loopback(b->addrs[FLOW_COL_U32(b, dst_addr)[i]]);
}

/* asked has room for the rows. */
static int find_asked(const struct work *w, const struct scan_rows *rows, uint32_t *asked,
		      size_t *ret_n)
{
	const struct address_book *book = w->q->book;
	size_t n = 0;
	int err = 0;

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

/* What only rows without an owner need. Returns 1, 0 if the block is damaged, or an error. */
static int fetch_other(struct work *w, struct scan_rows *rows)
{
	int err = 1;

	for (size_t i = 0; err > 0 && i < N_OTHER; i++)
		err = scan_fetch(w->scan, rows, other_columns[i]);
	return err;
}

static int read_blocks(struct work *w, struct part parts[N_PARTS])
{
	cleanup(scan_rows_free_p) struct scan_rows *rows = NULL;
	cleanup(free_p) uint32_t *asked = malloc(FLOW_BLOCK_MAX_ROWS * sizeof(*asked));
	int err = asked ? 0 : -ENOMEM;

	while (!err && (err = scan_next(w->scan, &rows)) > 0) {
		size_t n = 0;

		err = find_asked(w, rows, asked, &n);
		if (!err && n > 0)
			err = fetch_other(w, rows);
		if (err > 0)
			err = add_rows(w, parts, rows, asked, n);
	}
	return err;
}

/* What a thread has found goes behind what others have. */
static void hand_over(struct work *w, struct part parts[N_PARTS])
{
	(void)pthread_mutex_lock(&w->lock);
	for (size_t p = 0; p < N_PARTS; p++) {
		if (!parts[p].first)
			continue;
		parts[p].last->next = w->parts[p].first;
		w->parts[p].first = parts[p].first;
	}
	(void)pthread_mutex_unlock(&w->lock);
}

static void *read_in_thread(void *arg)
{
	struct work *w = arg;
	cleanup(free_p) struct part *parts = calloc(N_PARTS, sizeof(*parts));
	int err = parts ? read_blocks(w, parts) : -ENOMEM;

	if (parts)
		hand_over(w, parts);
	if (err)
		fail(w, err);
	return NULL;
}

/* --- comparing ----------------------------------------------------------------- */

static void desk_done(struct desk *d)
{
	free(d->records);
	free(d->keys);
	free(d->order);
	copies_memory_free(d->copies);
}

static int desk_reserve(struct desk *d, size_t n)
{
	if (d->max >= n)
		return 0;
	free(d->records);
	free(d->keys);
	free(d->order);
	d->max = 0;
	d->records = malloc(n * sizeof(*d->records));
	d->keys = malloc(n * sizeof(*d->keys));
	d->order = malloc(n * sizeof(*d->order));
	if (!d->records || !d->keys || !d->order)
		return -ENOMEM;
	d->max = n;
	return 0;
}

static void free_chunks(struct part *p)
{
	while (p->first) {
		struct chunk *c = p->first;

		p->first = c->next;
		free(c);
	}
}

/* In the order of their conversations. */
static int lay_out(struct desk *d, struct part *p, size_t *ret_n)
{
	size_t n = 0;
	int err;

	for (const struct chunk *c = p->first; c; c = c->next)
		n += c->n;
	*ret_n = n;
	err = desk_reserve(d, n);
	if (err || n == 0)
		return err;
	n = 0;
	for (const struct chunk *c = p->first; c; c = c->next)
		for (size_t i = 0; i < c->n; i++) {
			d->keys[n] = c->records[i].conversation & KEY_MASK;
			d->records[n++] = c->records[i];
		}
	free_chunks(p);
	return radix_order(d->keys, n, d->order);
}

static bool have_many_hosts(const struct desk *d, const uint32_t *order, size_t n)
{
	for (size_t k = 1; k < n; k++)
		if (d->records[order[k]].host_id != d->records[order[0]].host_id)
			return true;
	return false;
}

static void note_copies(struct work *w, const struct desk *d)
{
	size_t n = copies_find(d->copies, w->q->since_ms);
	const uint32_t *copies = copies_list(d->copies);

	for (size_t k = 0; k < n; k++) {
		const struct sighting *s = &d->records[copies[k]];

		(void)__atomic_fetch_or(&w->found->blocks[s->block].copies[s->row / 64],
					UINT64_C(1) << s->row % 64, __ATOMIC_RELAXED);
	}
}

/* Those in order[0 .. n), alike in the bits that were sorted by. */
static int compare(struct work *w, struct desk *d, const uint32_t *order, size_t n)
{
	int err = 0;

	if (!have_many_hosts(d, order, n))
		return 0;
	for (size_t k = 0; !err && k < n; k++) {
		const struct sighting *s = &d->records[order[k]];

		err = copies_add(d->copies,
				 &(struct copies_record){
					 .conversation = s->conversation,
					 .flow_id = s->flow_id,
					 .start_ms = (int64_t)s->start_ms,
					 .end_ms = (int64_t)s->end_ms,
					 .skew_ms = presence_skew(w->q->presence, s->host_id),
					 .host_id = s->host_id,
					 .sent = s->sent,
					 .number = order[k],
				 });
	}
	if (!err)
		note_copies(w, d);
	return err;
}

static int compare_part(struct work *w, struct desk *d, struct part *p)
{
	size_t n, next;
	int err = lay_out(d, p, &n);

	for (size_t k = 0; !err && k < n; k = next) {
		uint64_t key = d->records[d->order[k]].conversation & KEY_MASK;

		for (next = k + 1; next < n; next++)
			if ((d->records[d->order[next]].conversation & KEY_MASK) != key)
				break;
		if (next - k > 1)
			err = compare(w, d, d->order + k, next - k);
	}
	return err;
}

static void *compare_in_thread(void *arg)
{
	struct work *w = arg;
	cleanup(desk_done) struct desk d = {.copies = copies_memory_new()};
	int err = d.copies ? 0 : -ENOMEM;

	while (!err) {
		size_t p;

		(void)pthread_mutex_lock(&w->lock);
		err = w->err;
		p = w->next_part++;
		(void)pthread_mutex_unlock(&w->lock);
		if (p >= N_PARTS)
			break;
		if (!err)
			err = compare_part(w, &d, &w->parts[p]);
	}
	if (err)
		fail(w, err);
	return NULL;
}

/* --- both ---------------------------------------------------------------------- */

/* With as many threads as there are to be had; this one is the first. */
static int in_threads(struct work *w, void *(*body)(void *))
{
	pthread_t threads[MAX_THREADS];
	cpu_set_t cpus;
	size_t n = 0, wanted = 1;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		wanted = (size_t)CPU_COUNT(&cpus);
	while (n + 1 < wanted && n < MAX_THREADS - 1 &&
	       pthread_create(&threads[n], NULL, body, w) == 0)
		n++;
	(void)body(w); /* all tell by w->err */
	while (n > 0)
		(void)pthread_join(threads[--n], NULL); /* it was made here */
	return w->err;
}

static int read_sightings(const struct scan_rows *rows, struct work *w)
{
	struct flow_columns columns = {{0}};
	int err;

	for (size_t i = 0; i < sizeof(ends_columns) / sizeof(ends_columns[0]); i++)
		flow_columns_add(&columns, ends_columns[i]);
	for (size_t i = 0; !w->q->book && i < N_OTHER; i++)
		flow_columns_add(&columns, other_columns[i]);
	if (w->q->book)
		address_book_columns(&columns);
	err = scan_open_beside(rows, w->q->predicate, &columns, &w->scan);
	if (err)
		return err;
	err = in_threads(w, read_in_thread);
	scan_close(w->scan);
	return err;
}

static int by_key(const void *a, const void *b)
{
	const struct block *first = a, *second = b;

	return (first->key > second->key) - (first->key < second->key);
}

static int gather(const struct scan_rows *rows, struct work *w)
{
	int err;

	if (getrandom(w->seed, sizeof(w->seed), 0) != sizeof(w->seed))
		return -EIO;
	err = read_sightings(rows, w);
	if (!err)
		err = in_threads(w, compare_in_thread);
	for (size_t p = 0; p < N_PARTS; p++)
		free_chunks(&w->parts[p]);
	if (!err && w->found->n_blocks > 0)
		qsort(w->found->blocks, w->found->n_blocks, sizeof(*w->found->blocks), by_key);
	return err;
}

int evidence_gather(const struct scan_rows *rows, const struct evidence_question *q,
		    struct evidence **ret)
{
	cleanup(evidence_free_p) struct evidence *e = calloc(1, sizeof(*e));
	cleanup(free_p) struct work *w = calloc(1, sizeof(*w));
	int err = -ENOMEM;

	if (e && w) {
		w->q = q;
		w->found = e;
		(void)pthread_mutex_init(&w->lock, NULL); /* cannot fail on Linux */
		err = gather(rows, w);
		(void)pthread_mutex_destroy(&w->lock); /* nobody holds it */
	}
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
	const struct block wanted = {.key = scan_rows_key(rows) >> SCAN_ROW_BITS}, *found = NULL;

	if (e->n_blocks > 0)
		found = bsearch(&wanted, e->blocks, e->n_blocks, sizeof(*e->blocks), by_key);
	if (!found)
		return (struct evidence_copies){0};
	return (struct evidence_copies){found->copies, found->n, first_row(rows)};
}
