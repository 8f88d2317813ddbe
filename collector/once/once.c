// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/once/once.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "collector/flowstore/predicate.h"
#include "collector/flowstore/scan.h"
#include "collector/once/address_book.h"
#include "collector/once/evidence.h"
#include "collector/once/host_minutes.h"
#include "common/cleanup.h"
#include "common/log.h"

/* What the records alone tell, once a thread needs it. */
struct lazy {
	pthread_mutex_t lock; /* of all below */
	bool done;
	int err;
	struct evidence *evidence; /* NULL: too many records */
};

struct once {
	bool all;		   /* every record counts */
	struct address_book *book; /* NULL: the records alone decide */
	struct host_minutes *presence;
	struct predicate predicate; /* its root */
	struct evidence_question question;
	struct lazy *lazy;
};

struct once_memory {
	uint32_t *selected, *claims;
	size_t max;
};

DEFINE_CLEANUP(struct once *, once_close)

/*
 * Columns that all hosts on a conversation's way tell alike. A predicate on others
 * may match the record of one and not of the other.
 */
static bool takes_views(const struct predicate *p)
{
	static const enum flow_column alike[] = {
		FLOW_COLUMN_end_ms,    FLOW_COLUMN_proto,     FLOW_COLUMN_src_addr,
		FLOW_COLUMN_dst_addr,  FLOW_COLUMN_src_port,  FLOW_COLUMN_dst_port,
		FLOW_COLUMN_icmp_type, FLOW_COLUMN_icmp_code, FLOW_COLUMN_icmp_id,
	};
	struct flow_columns columns = {{0}};

	for (size_t i = 0; i < sizeof(alike) / sizeof(alike[0]); i++)
		flow_columns_add(&columns, alike[i]);
	return p && predicate_reads_other(p, &columns);
}

static bool has_one_host(const struct predicate *p, const struct host_minutes *presence)
{
	uint64_t low = 0, high = UINT64_MAX;

	if (p)
		predicate_bounds(p, FLOW_COLUMN_host_id, &low, &high);
	return low >= high || host_minutes_hosts(presence) < 2;
}

/* The hosts' clocks are not the collector's, but host_minutes_load() takes that into account. */
static int load(sqlite3 *db, const struct predicate *p, struct once *o)
{
	uint64_t since_ms = 0, until_ms = FLOW_TIME_MAX_MS;
	int err;

	if (p)
		predicate_bounds(p, FLOW_COLUMN_end_ms, &since_ms, &until_ms);
	if (since_ms > FLOW_TIME_MAX_MS)
		since_ms = FLOW_TIME_MAX_MS;
	if (until_ms > FLOW_TIME_MAX_MS)
		until_ms = FLOW_TIME_MAX_MS;
	err = host_minutes_load(db, HOST_MINUTES_REPORTED, (int64_t)since_ms, (int64_t)until_ms,
				&o->presence);
	if (!err && !takes_views(p))
		err = address_book_load(db, &o->book);
	if (o->book && address_book_is_empty(o->book)) {
		address_book_free(o->book);
		o->book = NULL;
	}
	if (p)
		o->predicate = *p;
	o->question = (struct evidence_question){
		.predicate = p ? &o->predicate : NULL,
		.book = o->book,
		.presence = o->presence,
		.since_ms = (int64_t)since_ms,
		.max_records = ONCE_MAX_RECORDS,
	};
	return err;
}

static int lazy_new(struct lazy **ret)
{
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	(void)pthread_mutex_init(&(*ret)->lock, NULL); /* cannot fail on Linux */
	return 0;
}

int once_open(sqlite3 *db, const struct predicate *predicate, struct once **ret)
{
	cleanup(once_close_p) struct once *o = calloc(1, sizeof(*o));
	int err = o ? lazy_new(&o->lazy) : -ENOMEM;

	if (!err)
		err = load(db, predicate, o);
	if (err)
		return err;
	o->all = has_one_host(predicate, o->presence);
	*ret = take_ptr(o);
	return 0;
}

void once_close(struct once *o)
{
	if (!o)
		return;
	address_book_free(o->book);
	host_minutes_free(o->presence);
	if (o->lazy) {
		evidence_free(o->lazy->evidence);
		(void)pthread_mutex_destroy(&o->lazy->lock);
		free(o->lazy);
	}
	free(o);
}

enum once_rule once_rule(const struct once *o)
{
	return o->all ? ONCE_ALL : o->book ? ONCE_CLAIMS : ONCE_RECORDS;
}

const struct host_minutes *once_presence(const struct once *o)
{
	return o->presence;
}

void once_columns(const struct once *o, struct flow_columns *columns)
{
	if (!o->all && o->book)
		address_book_columns(columns);
}

/* --- the records alone --------------------------------------------------------- */

static int gather(const struct once *o, const struct scan_rows *rows)
{
	int err = evidence_gather(rows, &o->question, &o->lazy->evidence);

	if (err != -E2BIG)
		return err;
	log_warn("more than %u records are of conversations whose ends belong to no host that has "
		 "told its addresses: they are counted as often as they were reported",
		 ONCE_MAX_RECORDS);
	return 0;
}

/* The copies in the block of rows. The first thread that asks has all read. */
static int get_copies(const struct once *o, const struct scan_rows *rows,
		      struct evidence_copies *ret)
{
	struct lazy *l = o->lazy;
	int err;

	(void)pthread_mutex_lock(&l->lock);
	if (!l->done)
		l->err = gather(o, rows);
	l->done = true;
	err = l->err;
	(void)pthread_mutex_unlock(&l->lock);
	if (!err && l->evidence)
		*ret = evidence_copies(l->evidence, rows);
	return err;
}

/* --- rows ---------------------------------------------------------------------- */

/* A block of rows that is gone through. */
struct pass {
	const struct once *o;
	const struct scan_rows *rows;
	const struct flow_block *b;
	struct evidence_copies copies;
	uint32_t host_id; /* of the row before */
	int64_t skew_ms;  /* of its clock */
};

static bool was_there(const struct pass *p, uint32_t host_id, uint32_t row)
{
	int64_t ms = (int64_t)FLOW_COL_U64(p->b, end_ms)[row] - p->skew_ms;

	return host_minutes_near(p->o->presence, host_id, ms, ONCE_SLACK_MS);
}

/* The other end, for a host that is at neither: either of both counts before it. */
static uint32_t second_claim(const struct pass *p, uint32_t claim, uint32_t row)
{
	const struct address_book *book = p->o->book;
	const uint32_t host_id = FLOW_COL_U32(p->b, host_id)[row];
	int64_t ms = (int64_t)FLOW_COL_U64(p->b, end_ms)[row];
	uint32_t src = address_book_owner(book, p->b->addrs[FLOW_COL_U32(p->b, src_addr)[row]], ms);
	uint32_t dst = address_book_owner(book, p->b->addrs[FLOW_COL_U32(p->b, dst_addr)[row]], ms);

	return src == claim && dst != claim && dst != host_id && src != host_id ? dst : 0;
}

static bool counts(struct pass *p, uint32_t claim, uint32_t row)
{
	uint32_t host_id, second;

	if (claim == ADDRESS_BOOK_NONE)
		return true;
	if (claim == ADDRESS_BOOK_UNOWNED) /* then the block may have no columns */
		return !evidence_is_copy(&p->copies, scan_row_number(p->rows, row));
	host_id = FLOW_COL_U32(p->b, host_id)[row];
	if (host_id != p->host_id) {
		p->host_id = host_id;
		p->skew_ms = host_minutes_skew(p->o->presence, host_id);
	}
	if (was_there(p, claim, row))
		return false;
	second = second_claim(p, claim, row);
	return !second || !was_there(p, second, row);
}

static int reserve(struct once_memory **memory, size_t n)
{
	struct once_memory *m = *memory;

	if (!m)
		m = *memory = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	if (m->max >= n)
		return 0;
	free(m->selected);
	free(m->claims);
	m->selected = malloc(n * sizeof(*m->selected));
	m->claims = malloc(n * sizeof(*m->claims));
	m->max = m->selected && m->claims ? n : 0;
	return m->max ? 0 : -ENOMEM;
}

/* Who the rows are left to; *ret_copies if it is the records alone that tell of some. */
static int get_claims(const struct once *o, const struct scan_rows *rows, uint32_t *claims,
		      struct evidence_copies *ret_copies)
{
	bool unowned = !o->book;
	int err = 0;

	if (o->book)
		err = address_book_claims_of(o->book, &rows->block, rows->selected,
					     rows->n_selected, claims);
	for (size_t k = 0; !err && k < rows->n_selected; k++) {
		claims[k] = o->book ? claims[k] : ADDRESS_BOOK_UNOWNED;
		unowned |= claims[k] == ADDRESS_BOOK_UNOWNED;
	}
	return err || !unowned ? err : get_copies(o, rows, ret_copies);
}

int once_select(const struct once *o, struct once_memory **memory, struct scan_rows *rows,
		uint64_t *set_aside)
{
	struct pass p = {.o = o, .rows = rows, .b = &rows->block};
	size_t n = 0;
	int err;

	if (o->all)
		return 0;
	err = reserve(memory, rows->n_selected);
	if (!err)
		err = get_claims(o, rows, (*memory)->claims, &p.copies);
	if (err)
		return err;
	for (size_t k = 0; k < rows->n_selected; k++) {
		(*memory)->selected[n] = rows->selected[k];
		n += counts(&p, (*memory)->claims[k], rows->selected[k]);
	}
	*set_aside += rows->n_selected - n;
	rows->selected = (*memory)->selected;
	rows->n_selected = n;
	return 0;
}

void once_memory_free(struct once_memory *memory)
{
	if (!memory)
		return;
	free(memory->selected);
	free(memory->claims);
	free(memory);
}
