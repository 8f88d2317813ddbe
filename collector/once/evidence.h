/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * evidence.h - which records are copies of what another host has reported, by
 * the records alone (once.h says what is a copy, and of what).
 *
 * A fingerprint of each record that is asked about, 64 bits with a random seed, is
 * sorted, and where several hosts have the same one their times are compared. These are
 * read with the rest, or, where few records match, afterwards and of these records only. Two
 * conversations taken for one: one in ten million databases of a million records.
 *
 * Threads: works with as many as there are CPUs, eight at most; what was found
 * is only read. Memory: 42 bytes a record while it works, then a bit.
 */
#ifndef WEIR_COLLECTOR_ONCE_EVIDENCE_H
#define WEIR_COLLECTOR_ONCE_EVIDENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct address_book;
struct evidence;
struct predicate;
struct host_minutes;
struct scan_rows;

struct evidence_question {
	const struct predicate *predicate; /* NULL: every record */
	const struct address_book *book;   /* of these, those that have no owner; NULL: all */
	const struct host_minutes *presence;
	int64_t since_ms; /* no record of the predicate ended before */
	size_t max_records;
};

/*
 * Reads beside the scan that gave rows. All is borrowed until the call returns.
 * Release with evidence_free(); NULL is a no-op. Returns -E2BIG for more than
 * max_records, or an error of collector/store/db.h.
 */
int evidence_gather(const struct scan_rows *rows, const struct evidence_question *q,
		    struct evidence **ret);
void evidence_free(struct evidence *e);

/* Of one segment or fresh block, of which rows may be a part. */
struct evidence_copies {
	const uint64_t *bits;
	size_t n; /* bits */
};

struct evidence_copies evidence_copies(const struct evidence *e, const struct scan_rows *rows);

/* number: scan_row_number(). */
static inline bool evidence_is_copy(const struct evidence_copies *c, uint32_t number)
{
	return number < c->n && c->bits[number / 64] >> number % 64 & 1;
}

#endif /* WEIR_COLLECTOR_ONCE_EVIDENCE_H */
