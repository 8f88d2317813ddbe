// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/once/address_book.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/hash.h"
#include "collector/sqlite/db_error.h"
#include "common/addr.h"
#include "common/cleanup.h"

/* For each entry of a dictionary, besides a host_id or 0 for nobody. */
#define LOOPBACK UINT32_MAX
#define CHANGES	 (UINT32_MAX - 1) /* has another owner within the times of the block */

#define BLOOM_BITS_PER_ADDR 32
#define BLOOM_MIN_BITS	    4096

struct tenure {
	uint32_t host_id;
	int64_t since_ms, until_ms;
};

/* The tenures of one address, in a row. */
struct entry {
	uint8_t addr[16];
	uint32_t first, n; /* n 0: a free place in the table */
};

struct address_book {
	struct tenure *tenures;
	size_t n_tenures, max_tenures;
	struct entry *table; /* open addressing */
	size_t table_mask;
	uint64_t *bloom; /* most addresses are of nobody: it tells in one look */
	size_t bloom_mask;
	uint64_t seed;
};

DEFINE_CLEANUP(struct address_book *, address_book_free)
DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

static uint64_t hash_addr(const struct address_book *b, const uint8_t addr[16])
{
	uint64_t half[2];

	memcpy(half, addr, sizeof(half));
	return hash_pair(b->seed, half[0], half[1]);
}

/* --- loading ------------------------------------------------------------------- */

static int add_tenure(struct address_book *b, const struct tenure *t)
{
	if (b->n_tenures == b->max_tenures) {
		size_t max = b->max_tenures ? 2 * b->max_tenures : 64;
		struct tenure *tenures = realloc(b->tenures, max * sizeof(*tenures));

		if (!tenures)
			return -ENOMEM;
		b->tenures = tenures;
		b->max_tenures = max;
	}
	b->tenures[b->n_tenures++] = *t;
	return 0;
}

static size_t power_of_2_from(size_t n)
{
	size_t power = 1;

	while (power < n)
		power *= 2;
	return power;
}

static int make_tables(struct address_book *b, size_t n_addrs)
{
	size_t places = power_of_2_from(2 * n_addrs + 1);
	size_t bits = power_of_2_from(BLOOM_BITS_PER_ADDR * n_addrs + BLOOM_MIN_BITS);

	b->table = calloc(places, sizeof(*b->table));
	b->bloom = calloc(bits / 64 + 1, sizeof(*b->bloom));
	b->seed = hash_seed();
	b->table_mask = places - 1;
	b->bloom_mask = bits - 1;
	return b->table && b->bloom ? 0 : -ENOMEM;
}

static void add_entry(struct address_book *b, const uint8_t addr[16])
{
	uint64_t hash = hash_addr(b, addr);
	size_t at = hash & b->table_mask, bit = hash >> 16 & b->bloom_mask;

	while (b->table[at].n > 0 && memcmp(b->table[at].addr, addr, 16) != 0)
		at = (at + 1) & b->table_mask;
	if (b->table[at].n++ == 0) {
		memcpy(b->table[at].addr, addr, 16);
		b->table[at].first = (uint32_t)b->n_tenures;
	}
	b->bloom[bit / 64] |= UINT64_C(1) << bit % 64;
}

static int read_row(struct address_book *b, sqlite3_stmt *st)
{
	const uint8_t *addr = sqlite3_column_blob(st, 0);
	const struct tenure t = {
		.host_id = (uint32_t)sqlite3_column_int64(st, 1),
		.since_ms = sqlite3_column_int64(st, 2),
		.until_ms = sqlite3_column_int64(st, 3),
	};

	if (!addr || sqlite3_column_bytes(st, 0) != 16 || !addr_is_of_host(addr))
		return 0; /* the store lets no such in */
	add_entry(b, addr);
	return add_tenure(b, &t);
}

static int read_table(sqlite3 *db, struct address_book *b)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *n = NULL;
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int rc, err;

	if (sqlite3_prepare_v2(db, "SELECT count(DISTINCT addr) FROM host_addr", -1, &n, NULL) !=
		    SQLITE_OK ||
	    sqlite3_step(n) != SQLITE_ROW ||
	    sqlite3_prepare_v2(db,
			       "SELECT addr, host_id, since_ms, ifnull(until_ms, 1 << 62)"
			       " FROM host_addr ORDER BY addr, host_id, since_ms",
			       -1, &st, NULL) != SQLITE_OK)
		return db_last_errno(db);
	err = make_tables(b, (size_t)sqlite3_column_int64(n, 0));
	while (!err && (rc = sqlite3_step(st)) != SQLITE_DONE)
		err = rc == SQLITE_ROW ? read_row(b, st) : db_last_errno(db);
	return err;
}

int address_book_load(sqlite3 *db, struct address_book **ret)
{
	cleanup(address_book_free_p) struct address_book *b = calloc(1, sizeof(*b));
	int err = b ? read_table(db, b) : -ENOMEM;

	if (!err)
		*ret = take_ptr(b);
	return err;
}

void address_book_free(struct address_book *book)
{
	if (!book)
		return;
	free(book->tenures);
	free(book->table);
	free(book->bloom);
	free(book);
}

bool address_book_is_empty(const struct address_book *book)
{
	return book->n_tenures == 0;
}

/* --- owners -------------------------------------------------------------------- */

static const struct entry *find(const struct address_book *b, const uint8_t addr[16])
{
	uint64_t hash = hash_addr(b, addr);
	size_t at = hash & b->table_mask, bit = hash >> 16 & b->bloom_mask;

	if (!(b->bloom[bit / 64] >> bit % 64 & 1))
		return NULL;
	while (b->table[at].n > 0 && memcmp(b->table[at].addr, addr, 16) != 0)
		at = (at + 1) & b->table_mask;
	return b->table[at].n > 0 ? &b->table[at] : NULL;
}

static bool same_tenures(const struct address_book *a, const struct entry *x,
			 const struct address_book *b, const struct entry *y)
{
	if (!y || x->n != y->n)
		return false;
	for (uint32_t i = 0; i < x->n; i++) {
		const struct tenure *t = &a->tenures[x->first + i], *u = &b->tenures[y->first + i];

		if (t->host_id != u->host_id || t->since_ms != u->since_ms ||
		    t->until_ms != u->until_ms)
			return false;
	}
	return true;
}

bool address_book_equals(const struct address_book *a, const struct address_book *b)
{
	if (a->n_tenures != b->n_tenures)
		return false;
	for (size_t i = 0; i <= a->table_mask; i++)
		if (a->table[i].n > 0 &&
		    !same_tenures(a, &a->table[i], b, find(b, a->table[i].addr)))
			return false;
	return true;
}

/* The only host that has it at that time, or 0. */
static uint32_t owner_at(const struct address_book *b, const struct entry *e, int64_t ms)
{
	uint32_t owner = 0;

	for (uint32_t i = e->first; i < e->first + e->n; i++) {
		const struct tenure *t = &b->tenures[i];

		if (ms < t->since_ms || ms >= t->until_ms || t->host_id == owner)
			continue;
		if (owner)
			return 0;
		owner = t->host_id;
	}
	return owner;
}

static uint32_t owner_within(const struct address_book *b, const struct entry *e, int64_t from_ms,
			     int64_t to_ms)
{
	for (uint32_t i = e->first; i < e->first + e->n; i++) {
		const struct tenure *t = &b->tenures[i];

		if ((t->since_ms > from_ms && t->since_ms <= to_ms) ||
		    (t->until_ms > from_ms && t->until_ms <= to_ms))
			return CHANGES;
	}
	return owner_at(b, e, from_ms);
}

uint32_t address_book_owner(const struct address_book *book, const uint8_t addr[16], int64_t ms)
{
	const struct entry *e = find(book, addr);

	return e ? owner_at(book, e, ms) : 0;
}

/* The rows of a block that are asked about. */
struct some_rows {
	const struct flow_block *b;
	const uint32_t *selected; /* NULL: all */
	size_t n;
	int64_t from_ms, to_ms; /* their end_ms */
};

static struct some_rows some_rows(const struct flow_block *b, const uint32_t *selected, size_t n)
{
	const uint64_t *end_ms = FLOW_COL_U64(b, end_ms);
	uint64_t min = UINT64_MAX, max = 0;

	for (size_t k = 0; k < n; k++) {
		uint64_t ms = end_ms[selected ? selected[k] : k];

		min = ms < min ? ms : min;
		max = ms > max ? ms : max;
	}
	return (struct some_rows){b, selected, n, (int64_t)min, (int64_t)max};
}

/* A host_id, 0, LOOPBACK or CHANGES. */
static uint32_t owner_of(const struct address_book *book, const struct some_rows *r,
			 const uint8_t addr[16])
{
	const struct entry *e = find(book, addr);

	if (e)
		return owner_within(book, e, r->from_ms, r->to_ms);
	return addr_is_loopback(addr) ? LOOPBACK : 0;
}

/* Of each entry of the dictionary, or of those that few rows need. */
static void dictionary_owners(const struct address_book *book, const struct some_rows *r,
			      uint32_t *ret)
{
	const struct flow_block *b = r->b;

	if (2 * r->n >= b->n_addrs) {
		for (size_t i = 0; i < b->n_addrs; i++)
			ret[i] = owner_of(book, r, b->addrs[i]);
		return;
	}
	for (size_t k = 0; k < r->n; k++) {
		size_t i = r->selected ? r->selected[k] : k;
		uint32_t src = FLOW_COL_U32(b, src_addr)[i], dst = FLOW_COL_U32(b, dst_addr)[i];

		ret[src] = owner_of(book, r, b->addrs[src]);
		ret[dst] = owner_of(book, r, b->addrs[dst]);
	}
}

/* --- claims -------------------------------------------------------------------- */

void address_book_columns(struct flow_columns *columns)
{
	static const enum flow_column read[] = {
		FLOW_COLUMN_host_id,	       FLOW_COLUMN_end_ms,
		FLOW_COLUMN_src_addr,	       FLOW_COLUMN_dst_addr,
		FLOW_COLUMN_rev_total_packets, FLOW_COLUMN_end_reason,
	};

	for (size_t i = 0; i < sizeof(read) / sizeof(read[0]); i++)
		flow_columns_add(columns, read[i]);
}

static inline uint32_t claim(uint32_t host, uint32_t src, uint32_t dst, bool answered)
{
	uint32_t other = host == src ? dst : src;

	if (src == 0 && dst == 0)
		return ADDRESS_BOOK_UNOWNED;
	if (host != src && host != dst)
		return src ? src : dst;
	if (other == 0 || other == host)
		return ADDRESS_BOOK_NONE;
	if (!answered)
		return other == src ? src : ADDRESS_BOOK_NONE;
	return other < host ? other : ADDRESS_BOOK_NONE;
}

/* A row for which the dictionary alone does not tell. */
static uint32_t slow_claim(const struct address_book *book, const struct flow_block *b, size_t i,
			   uint32_t src, uint32_t dst)
{
	int64_t ms = (int64_t)FLOW_COL_U64(b, end_ms)[i];

	if (src == LOOPBACK || dst == LOOPBACK)
		return ADDRESS_BOOK_NONE;
	if (src == CHANGES)
		src = address_book_owner(book, b->addrs[FLOW_COL_U32(b, src_addr)[i]], ms);
	if (dst == CHANGES)
		dst = address_book_owner(book, b->addrs[FLOW_COL_U32(b, dst_addr)[i]], ms);
	return claim(FLOW_COL_U32(b, host_id)[i], src, dst,
		     FLOW_COL_U64(b, rev_total_packets)[i] > 0);
}

int address_book_claims_of(const struct address_book *book, const struct flow_block *b,
			   const uint32_t *selected, size_t n, uint32_t *claims)
{
	const uint32_t *host = FLOW_COL_U32(b, host_id), *reason = FLOW_COL_U32(b, end_reason);
	const uint32_t *src = FLOW_COL_U32(b, src_addr), *dst = FLOW_COL_U32(b, dst_addr);
	const uint64_t *answers = FLOW_COL_U64(b, rev_total_packets);
	cleanup(free_p) uint32_t *owners = malloc(b->n_addrs * sizeof(*owners));
	struct some_rows rows = some_rows(b, selected, n);

	if (!owners)
		return -ENOMEM;
	dictionary_owners(book, &rows, owners);
	for (size_t k = 0; k < n; k++) {
		size_t i = selected ? selected[k] : k;
		uint32_t s = owners[src[i]], d = owners[dst[i]];

		if (s >= CHANGES || d >= CHANGES)
			claims[k] = slow_claim(book, b, i, s, d);
		else
			claims[k] = claim(host[i], s, d, answers[i] > 0);
		if (reason[i] == FLOW_END_NO_RESOURCES)
			claims[k] = ADDRESS_BOOK_NONE;
	}
	return 0;
}

int address_book_claims(const struct address_book *book, const struct flow_block *b,
			uint32_t *claims)
{
	return address_book_claims_of(book, b, NULL, b->n_rows, claims);
}
