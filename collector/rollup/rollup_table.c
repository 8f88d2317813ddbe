// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/rollup/rollup_table.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/hash.h"
#include "collector/once/host_minutes.h"
#include "collector/once/once.h"
#include "collector/rollup/peer_group.h"
#include "common/addr.h"
#include "common/cleanup.h"

#define SUM_MAX	  (UINT64_C(1) << 55)
#define FIRST_MAX 1024

/* Keys are hashed and compared as words. */
#define KEY_WORDS (sizeof(struct rollup_key) / sizeof(uint64_t))
_Static_assert(sizeof(struct rollup_key) == 5 * sizeof(uint64_t), "no holes");

void rollup_table_done(struct rollup_table *t)
{
	free(t->rows);
	free(t->slots);
	*t = (struct rollup_table){0};
}

/* --- by key ----------------------------------------------------------------------- */

static uint64_t hash(const struct rollup_table *t, const struct rollup_key *key)
{
	uint64_t words[KEY_WORDS], h = t->seed;

	memcpy(words, key, sizeof(words));
	for (size_t i = 0; i < KEY_WORDS; i++)
		h = hash_pair(t->seed, h, words[i]);
	return h;
}

static void put_slot(struct rollup_table *t, uint32_t number)
{
	size_t at = hash(t, &t->rows[number].key) & (t->n_slots - 1);

	while (t->slots[at])
		at = (at + 1) & (t->n_slots - 1);
	t->slots[at] = number + 1;
}

/* Room for twice as many. */
static int grow(struct rollup_table *t)
{
	size_t max = t->max ? 2 * t->max : FIRST_MAX;
	struct rollup_row *rows = realloc(t->rows, max * sizeof(*rows));
	uint32_t *slots;

	if (!rows)
		return -ENOMEM;
	t->rows = rows;
	if (!t->seed)
		t->seed = hash_seed();
	slots = calloc(2 * max, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	free(t->slots);
	t->slots = slots;
	t->n_slots = 2 * max;
	t->max = max;
	for (size_t i = 0; i < t->n; i++)
		put_slot(t, (uint32_t)i);
	return 0;
}

/* The row of that key, a new one if there is none; NULL without memory. */
static struct rollup_row *row_of(struct rollup_table *t, const struct rollup_key *key)
{
	size_t at;

	if (t->n == t->max && grow(t) != 0)
		return NULL;
	at = hash(t, key) & (t->n_slots - 1);
	for (; t->slots[at]; at = (at + 1) & (t->n_slots - 1)) {
		struct rollup_row *row = &t->rows[t->slots[at] - 1];

		if (memcmp(&row->key, key, sizeof(*key)) == 0)
			return row;
	}
	t->rows[t->n] = (struct rollup_row){.key = *key};
	t->slots[at] = (uint32_t)++t->n;
	return &t->rows[t->n - 1];
}

static void add(uint64_t *sum, uint64_t value)
{
	*sum += value; /* both are far below 2^63 */
	if (*sum > SUM_MAX)
		*sum = SUM_MAX;
}

static void raise(uint64_t *most, uint64_t value)
{
	if (value > *most)
		*most = value;
}

/* --- records ------------------------------------------------------------------------ */

static const enum flow_column read_columns[] = {
	FLOW_COLUMN_host_id,	     FLOW_COLUMN_end_ms,
	FLOW_COLUMN_src_addr,	     FLOW_COLUMN_dst_addr,
	FLOW_COLUMN_dst_port,	     FLOW_COLUMN_proto,
	FLOW_COLUMN_direction,	     FLOW_COLUMN_role,
	FLOW_COLUMN_end_reason,	     FLOW_COLUMN_verdict,
	FLOW_COLUMN_packets,	     FLOW_COLUMN_bytes,
	FLOW_COLUMN_rev_packets,     FLOW_COLUMN_rev_bytes,
	FLOW_COLUMN_total_packets,   FLOW_COLUMN_rev_total_packets,
	FLOW_COLUMN_retrans_pkts,    FLOW_COLUMN_rev_retrans_pkts,
	FLOW_COLUMN_kernel_drops,    FLOW_COLUMN_rtt_us,
	FLOW_COLUMN_responses,	     FLOW_COLUMN_response_avg_us,
	FLOW_COLUMN_response_max_us,
};

void rollup_table_columns(struct flow_columns *columns)
{
	for (size_t i = 0; i < sizeof(read_columns) / sizeof(read_columns[0]); i++)
		flow_columns_add(columns, read_columns[i]);
	address_book_columns(columns);
}

static bool is_failed(uint32_t verdict)
{
	return verdict == FLOW_VERDICT_REFUSED || verdict == FLOW_VERDICT_SYN_UNANSWERED ||
	       verdict == FLOW_VERDICT_HALF_OPEN;
}

/* A high port counts for itself only if it is known to serve somebody. */
static int32_t service_of(const struct flow_block *b, size_t i)
{
	uint32_t port = FLOW_COL_U32(b, dst_port)[i];
	bool serves = FLOW_COL_U32(b, role)[i] != FLOW_ROLE_UNKNOWN &&
		      !is_failed(FLOW_COL_U32(b, verdict)[i]);

	return port < ROLLUP_SERVICE_MAX || serves ? (int32_t)port : ROLLUP_ANY_PORT;
}

/* What a key takes of an address, worked out once for each in the dictionary. */
struct end {
	uint32_t owner; /* 0: nobody, or it changes within the block */
	uint8_t ip_version;
	int64_t peer;
};

struct block {
	const struct flow_block *b;
	struct end *ends;
	uint32_t *claims;
};

static void block_done(struct block *k)
{
	free(k->ends);
	free(k->claims);
	*k = (struct block){0};
}

static void find_ends(struct block *k, const struct address_book *book)
{
	const struct flow_block *b = k->b;
	const uint64_t *end_ms = FLOW_COL_U64(b, end_ms);
	uint64_t min = UINT64_MAX, max = 0;

	for (size_t i = 0; i < b->n_rows; i++) {
		min = end_ms[i] < min ? end_ms[i] : min;
		max = end_ms[i] > max ? end_ms[i] : max;
	}
	for (size_t n = 0; n < b->n_addrs; n++) {
		uint32_t owner = address_book_owner(book, b->addrs[n], (int64_t)min);

		if (owner && address_book_owner(book, b->addrs[n], (int64_t)max) != owner)
			owner = 0;
		k->ends[n] = (struct end){owner, addr_is_v4(b->addrs[n]) ? 4 : 6,
					  peer_group(owner, b->addrs[n])};
	}
}

static int block_init(struct block *k, const struct flow_block *b, const struct address_book *book)
{
	int err;

	*k = (struct block){
		.b = b,
		.ends = calloc(b->n_addrs + 1, sizeof(*k->ends)),
		.claims = calloc(b->n_rows + 1, sizeof(*k->claims)),
	};
	err = k->ends && k->claims ? address_book_claims(book, b, k->claims) : -ENOMEM;
	if (err)
		block_done(k);
	else
		find_ends(k, book);
	return err;
}

static int64_t claim_of(const struct block *k, size_t i, const struct end *src,
			const struct end *dst)
{
	uint32_t host = FLOW_COL_U32(k->b, host_id)[i], claim = k->claims[i];

	if (claim == ADDRESS_BOOK_NONE)
		return ROLLUP_CLAIM_NONE;
	if (claim == ADDRESS_BOOK_UNOWNED)
		return ROLLUP_CLAIM_UNOWNED;
	return ROLLUP_CLAIM_OF(claim, src->owner != host && dst->owner != host);
}

static struct rollup_key key_of(const struct block *k, size_t i)
{
	const struct flow_block *b = k->b;
	const struct end *src = &k->ends[FLOW_COL_U32(b, src_addr)[i]];
	const struct end *dst = &k->ends[FLOW_COL_U32(b, dst_addr)[i]];
	uint64_t end_ms = FLOW_COL_U64(b, end_ms)[i];
	int64_t minute_ms = (int64_t)(end_ms - end_ms % ROLLUP_MINUTE_MS);
	uint32_t direction = FLOW_COL_U32(b, direction)[i];
	bool catch_all = FLOW_COL_U32(b, end_reason)[i] == FLOW_END_NO_RESOURCES;

	return (struct rollup_key){
		.start_ms = minute_ms,
		.peer = direction == FLOW_DIRECTION_INGRESS ? src->peer : dst->peer,
		.claim = claim_of(k, i, src, dst),
		.host_id = FLOW_COL_U32(b, host_id)[i],
		.dst_port = service_of(b, i),
		.proto = (uint16_t)(FLOW_COL_U32(b, proto)[i] + (catch_all ? ROLLUP_CATCH_ALL : 0)),
		.direction = (uint8_t)direction,
		.role = (uint8_t)FLOW_COL_U32(b, role)[i],
		.ip_version = src->ip_version,
	};
}

static void add_failures(struct rollup_row *r, const struct flow_block *b, size_t i)
{
	uint32_t verdict = FLOW_COL_U32(b, verdict)[i], end = FLOW_COL_U32(b, end_reason)[i];

	if (end == FLOW_END_ACTIVE || end == FLOW_END_NONE)
		return;
	r->flows_ended++;
	r->refused += verdict == FLOW_VERDICT_REFUSED;
	r->unanswered +=
		verdict == FLOW_VERDICT_SYN_UNANSWERED || verdict == FLOW_VERDICT_HALF_OPEN;
	r->reset += verdict == FLOW_VERDICT_RESET;
}

/* What only some protocols have is NULL in the others (proto/flow_columns.h). */
static void add_times(struct rollup_row *r, const struct flow_block *b, size_t i)
{
	uint32_t rtt_us = FLOW_COL_U32(b, proto)[i] == IPPROTO_TCP ? FLOW_COL_U32(b, rtt_us)[i] : 0;

	if (rtt_us) {
		r->handshakes++;
		r->rtt_sum_us += rtt_us;
		raise(&r->rtt_max_us, rtt_us);
	}
	if (FLOW_COL_U32(b, responses)[i]) {
		r->answered++;
		r->response_sum_us += FLOW_COL_U32(b, response_avg_us)[i];
		raise(&r->response_max_us, FLOW_COL_U32(b, response_max_us)[i]);
	}
	if (FLOW_COL_U32(b, proto)[i] == IPPROTO_TCP) {
		add(&r->retrans_pkts, FLOW_COL_U64(b, retrans_pkts)[i]);
		add(&r->rev_retrans_pkts, FLOW_COL_U64(b, rev_retrans_pkts)[i]);
	}
}

static void add_record(struct rollup_row *r, const struct flow_block *b, size_t i)
{
	uint64_t packets = FLOW_COL_U64(b, packets)[i], rev = FLOW_COL_U64(b, rev_packets)[i];

	r->records++;
	r->flows_begun += packets == FLOW_COL_U64(b, total_packets)[i] &&
			  rev == FLOW_COL_U64(b, rev_total_packets)[i];
	add(&r->packets, packets);
	add(&r->bytes, FLOW_COL_U64(b, bytes)[i]);
	add(&r->rev_packets, rev);
	add(&r->rev_bytes, FLOW_COL_U64(b, rev_bytes)[i]);
	r->kernel_drops += FLOW_COL_U32(b, kernel_drops)[i];
	add_failures(r, b, i);
	add_times(r, b, i);
}

/* Neighbours mostly have the same key: segments are sorted by most of it. */
int rollup_table_add(struct rollup_table *t, const struct flow_block *b,
		     const struct address_book *book)
{
	cleanup(block_done) struct block k = {0};
	struct rollup_row *row = NULL;
	int err = block_init(&k, b, book);

	for (size_t i = 0; !err && i < b->n_rows; i++) {
		struct rollup_key key = key_of(&k, i);

		if (!row || memcmp(&row->key, &key, sizeof(key)) != 0)
			row = row_of(t, &key);
		if (row)
			add_record(row, b, i);
		else
			err = -ENOMEM;
	}
	return err;
}

void rollup_table_trim(struct rollup_table *t)
{
	struct rollup_row *rows = realloc(t->rows, (t->n + 1) * sizeof(*rows));

	if (rows)
		t->rows = rows;
	free(t->slots);
	t->slots = NULL;
}

/* --- claims that are settled ----------------------------------------------------------- */

/* Who claims the records was there in that minute, all of it: that does not change any more. */
static bool is_set_aside(const struct rollup_key *k, const struct host_minutes *reported)
{
	int64_t from_ms = k->start_ms - host_minutes_skew(reported, k->host_id);

	return host_minutes_extent(reported, ROLLUP_CLAIM_HOST(k->claim), from_ms,
				   from_ms + ROLLUP_MINUTE_MS,
				   ONCE_SLACK_MS) == HOST_MINUTES_ALWAYS;
}

void rollup_table_settle(struct rollup_table *t, const struct host_minutes *reported)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->rows[i].key.claim > 0 && is_set_aside(&t->rows[i].key, reported))
			t->rows[i].key.claim = ROLLUP_CLAIM_ASIDE;
}

/* --- coarser rows ------------------------------------------------------------------------- */

static int add_row(struct rollup_table *t, const struct rollup_key *key,
		   const struct rollup_row *from)
{
	struct rollup_row *row = row_of(t, key);

	if (!row)
		return -ENOMEM;
#define ADD_SUM(name) add(&row->name, from->name);
	ROLLUP_SUMS(ADD_SUM)
#undef ADD_SUM
#define RAISE(name) raise(&row->name, from->name);
	ROLLUP_MAXIMA(RAISE)
#undef RAISE
	return 0;
}

int rollup_table_add_minutes(struct rollup_table *t, const struct rollup_table *fine)
{
	int err = 0;

	for (size_t i = 0; !err && i < fine->n; i++) {
		struct rollup_key key = fine->rows[i].key;

		key.peer = (key.peer > 0) - (key.peer < 0);
		err = add_row(t, &key, &fine->rows[i]);
	}
	return err;
}

int rollup_table_add_hours(struct rollup_table *t, const struct rollup_table *fine)
{
	int err = 0;

	for (size_t i = 0; !err && i < fine->n; i++) {
		struct rollup_key key = fine->rows[i].key;

		key.start_ms -= key.start_ms % ROLLUP_HOUR_MS;
		err = add_row(t, &key, &fine->rows[i]);
	}
	return err;
}

/* In the order of the tables' primary keys. */
static int compare(const void *a, const void *b)
{
	const struct rollup_key *x = a, *y = b; /* each is first in its row */

#define BY(field)                                                                                  \
	if (x->field != y->field)                                                                  \
		return x->field < y->field ? -1 : 1;
	BY(start_ms)
	BY(host_id)
	BY(dst_port)
	BY(proto)
	BY(direction)
	BY(role)
	BY(ip_version)
	BY(peer)
	BY(claim)
#undef BY
	return 0;
}

void rollup_table_sort(struct rollup_table *t)
{
	if (t->n)
		qsort(t->rows, t->n, sizeof(*t->rows), compare);
}
