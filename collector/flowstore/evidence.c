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

#define MAX_THREADS    8
#define CHUNK_BITS     16
#define CHUNK	       (1u << CHUNK_BITS)
#define MAX_BLOCKS     (1u << 20)		 /* bits of struct sighting */
#define PARTITION_ROWS 16384			 /* sorting stays in the cache */
#define KEY_MASK       ((UINT64_C(1) << 33) - 1) /* three digits of radix_order() */

/* A record that is asked about. */
struct sighting {
	uint64_t conversation;
	uint64_t flow_id;
	uint64_t start_ms : 44, block : 20;
	uint64_t end_ms : 44, row : 19, sent : 1;
	uint32_t host_id;
};

struct block {
	int64_t key;
	uint64_t *copies; /* a bit a row */
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
	struct sighting **chunks;
	size_t n_chunks, n;
	int err;
	/* The second half: numbers of sightings by the first bits of their conversation. */
	uint32_t *order;
	size_t *parts; /* n_parts + 1 */
	size_t n_parts, next_part;
};

DEFINE_CLEANUP(struct evidence *, evidence_free)
DEFINE_CLEANUP(struct scan_rows *, scan_rows_free)
DEFINE_CLEANUP(struct copies_memory *, copies_memory_free)

static struct sighting *sighting(const struct work *w, size_t i)
{
	return &w->chunks[i >> CHUNK_BITS][i & (CHUNK - 1)];
}

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

/* Room for n more, and a number for their block. */
static int reserve(struct work *w, const struct scan_rows *rows, size_t n, size_t *ret_first,
		   size_t *ret_block)
{
	struct evidence *e = w->found;

	if (w->n + n > w->q->max_records || e->n_blocks == MAX_BLOCKS)
		return -E2BIG;
	while (w->n_chunks * CHUNK < w->n + n) {
		w->chunks[w->n_chunks] = malloc(CHUNK * sizeof(struct sighting));
		if (!w->chunks[w->n_chunks])
			return -ENOMEM;
		w->n_chunks++;
	}
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
		.copies = calloc(rows->block.n_rows / 64 + 1, sizeof(uint64_t)),
	};
	if (!e->blocks[e->n_blocks].copies)
		return -ENOMEM;
	*ret_first = w->n;
	*ret_block = e->n_blocks++;
	w->n += n;
	return 0;
}

/* The rows in asked[0 .. n). */
static int add_sightings(struct work *w, const struct scan_rows *rows, const uint32_t *asked,
			 size_t n)
{
	const struct flow_block *b = &rows->block;
	size_t first, block;
	int err;

	(void)pthread_mutex_lock(&w->lock);
	err = w->err ? w->err : reserve(w, rows, n, &first, &block);
	(void)pthread_mutex_unlock(&w->lock);
	for (size_t k = 0; !err && k < n; k++) {
		uint32_t i = asked[k];

		*sighting(w, first + k) = (struct sighting){
			.conversation = hash_conversation(w, b, i),
			.flow_id = FLOW_COL_U64(b, flow_id)[i],
			.start_ms = FLOW_COL_U64(b, start_ms)[i],
			.block = block,
			.end_ms = FLOW_COL_U64(b, end_ms)[i],
			.row = i,
			.sent = FLOW_COL_U32(b, direction)[i] == FLOW_DIRECTION_EGRESS,
			.host_id = FLOW_COL_U32(b, host_id)[i],
		};
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

static void *read_blocks(void *arg)
{
	struct work *w = arg;
	cleanup(scan_rows_free_p) struct scan_rows *rows = NULL;
	cleanup(free_p) uint32_t *asked = malloc(FLOW_BLOCK_MAX_ROWS * sizeof(*asked));
	int err = asked ? 0 : -ENOMEM;

	while (!err && (err = scan_next(w->scan, &rows)) > 0) {
		size_t n = 0;

		err = find_asked(w, rows, asked, &n);
		if (!err && n > 0)
			err = fetch_other(w, rows);
		if (err > 0)
			err = add_sightings(w, rows, asked, n);
	}
	if (err)
		fail(w, err);
	return NULL;
}

/* --- comparing ----------------------------------------------------------------- */

static int make_parts(struct work *w)
{
	unsigned shift = 64;
	size_t sum = 0;

	w->n_parts = 1;
	while (w->n_parts * PARTITION_ROWS < w->n) {
		w->n_parts *= 2;
		shift--;
	}
	w->parts = calloc(w->n_parts + 2, sizeof(*w->parts));
	w->order = malloc((w->n + 1) * sizeof(*w->order));
	if (!w->parts || !w->order)
		return -ENOMEM;
	for (size_t i = 0; i < w->n; i++)
		w->parts[(shift < 64 ? sighting(w, i)->conversation >> shift : 0) + 2]++;
	for (size_t p = 0; p < w->n_parts; p++)
		w->parts[p + 2] = sum += w->parts[p + 2];
	for (size_t i = 0; i < w->n; i++) /* afterwards parts[p] is where part p begins */
		w->order[w->parts[(shift < 64 ? sighting(w, i)->conversation >> shift : 0) + 1]++] =
			(uint32_t)i;
	return 0;
}

static bool have_many_hosts(const struct work *w, const uint32_t *group, const uint32_t *order,
			    size_t n)
{
	for (size_t k = 1; k < n; k++)
		if (sighting(w, group[order[k]])->host_id != sighting(w, group[order[0]])->host_id)
			return true;
	return false;
}

static void note_copies(struct work *w, struct copies_memory *m)
{
	size_t n = copies_find(m, w->q->since_ms);
	const uint32_t *copies = copies_list(m);

	for (size_t k = 0; k < n; k++) {
		const struct sighting *s = sighting(w, copies[k]);

		(void)__atomic_fetch_or(&w->found->blocks[s->block].copies[s->row / 64],
					UINT64_C(1) << s->row % 64, __ATOMIC_RELAXED);
	}
}

/* Sightings order[0 .. n) of the part, alike in the bits that were sorted by. */
static int compare(struct work *w, struct copies_memory *m, const uint32_t *part,
		   const uint32_t *order, size_t n)
{
	int err = 0;

	if (!have_many_hosts(w, part, order, n))
		return 0;
	for (size_t k = 0; !err && k < n; k++) {
		const struct sighting *s = sighting(w, part[order[k]]);

		err = copies_add(m, &(struct copies_record){
					    .conversation = s->conversation,
					    .flow_id = s->flow_id,
					    .start_ms = (int64_t)s->start_ms,
					    .end_ms = (int64_t)s->end_ms,
					    .skew_ms = presence_skew(w->q->presence, s->host_id),
					    .host_id = s->host_id,
					    .sent = s->sent,
					    .number = part[order[k]],
				    });
	}
	if (!err)
		note_copies(w, m);
	return err;
}

static int compare_part(struct work *w, struct copies_memory *m, const uint32_t *part, size_t n)
{
	cleanup(free_p) uint64_t *keys = malloc((n + 1) * sizeof(*keys));
	cleanup(free_p) uint32_t *order = malloc((n + 1) * sizeof(*order));
	int err = keys && order ? 0 : -ENOMEM;

	for (size_t k = 0; !err && k < n; k++)
		keys[k] = sighting(w, part[k])->conversation & KEY_MASK;
	if (!err)
		err = radix_order(keys, n, order);
	for (size_t k = 0, next; !err && k < n; k = next) {
		uint64_t key = sighting(w, part[order[k]])->conversation & KEY_MASK;

		for (next = k + 1; next < n; next++)
			if ((sighting(w, part[order[next]])->conversation & KEY_MASK) != key)
				break;
		if (next - k > 1)
			err = compare(w, m, part, order + k, next - k);
	}
	return err;
}

static void *compare_parts(void *arg)
{
	struct work *w = arg;
	cleanup(copies_memory_free_p) struct copies_memory *m = copies_memory_new();
	int err = m ? 0 : -ENOMEM;

	while (!err) {
		size_t p;

		(void)pthread_mutex_lock(&w->lock);
		err = w->err;
		p = w->next_part++;
		(void)pthread_mutex_unlock(&w->lock);
		if (err || p >= w->n_parts)
			break;
		err = compare_part(w, m, w->order + w->parts[p], w->parts[p + 1] - w->parts[p]);
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

static int read_sightings(sqlite3 *db, struct work *w)
{
	struct flow_columns columns = {{0}};
	int err;

	for (size_t i = 0; i < sizeof(ends_columns) / sizeof(ends_columns[0]); i++)
		flow_columns_add(&columns, ends_columns[i]);
	for (size_t i = 0; !w->q->book && i < N_OTHER; i++)
		flow_columns_add(&columns, other_columns[i]);
	if (w->q->book)
		address_book_columns(&columns);
	err = scan_open(db, w->q->predicate, &columns, &w->scan);
	if (err)
		return err;
	err = in_threads(w, read_blocks);
	scan_close(w->scan);
	return err;
}

static int by_key(const void *a, const void *b)
{
	const struct block *first = a, *second = b;

	return (first->key > second->key) - (first->key < second->key);
}

static int gather(sqlite3 *db, struct work *w)
{
	int err = 0;

	w->chunks = calloc(w->q->max_records / CHUNK + 1, sizeof(struct sighting *));
	if (!w->chunks)
		return -ENOMEM;
	if (getrandom(w->seed, sizeof(w->seed), 0) != sizeof(w->seed))
		return -EIO;
	err = read_sightings(db, w);
	if (!err)
		err = make_parts(w);
	if (!err)
		err = in_threads(w, compare_parts);
	if (!err && w->found->n_blocks > 0)
		qsort(w->found->blocks, w->found->n_blocks, sizeof(*w->found->blocks), by_key);
	return err;
}

int evidence_gather(sqlite3 *db, const struct evidence_question *q, struct evidence **ret)
{
	cleanup(evidence_free_p) struct evidence *e = calloc(1, sizeof(*e));
	struct work w = {.q = q, .found = e, .lock = PTHREAD_MUTEX_INITIALIZER};
	int err = e ? gather(db, &w) : -ENOMEM;

	while (w.n_chunks > 0)
		free(w.chunks[--w.n_chunks]);
	free(w.chunks);
	free(w.order);
	free(w.parts);
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

const uint64_t *evidence_copies(const struct evidence *e, int64_t key)
{
	const struct block wanted = {.key = key}, *found = NULL;

	if (e->n_blocks > 0)
		found = bsearch(&wanted, e->blocks, e->n_blocks, sizeof(*e->blocks), by_key);
	return found ? found->copies : NULL;
}
