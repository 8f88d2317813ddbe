/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * address_book.h - which host owns which address, and so who may have reported
 * the same conversation as the host of a record.
 *
 * A host owns an address while it is the only one that has told it (table
 * host_addr). What several have (virtual addresses, docker0) is nobody's, and so
 * are loopback and link-local ones.
 *
 * The claim of a record is a function of the record and the book alone, so it
 * can be worked out when a record comes in, and sums by claim can be added up:
 *
 *	H the record's host, S the owner of src, D the owner of dst
 *	loopback, catch-all		no claim: it always counts
 *	neither end is owned		ADDRESS_BOOK_UNOWNED: the records decide (once.h)
 *	H owns one end, no other host
 *	the other			no claim: nobody else at an end can tell
 *	H and another own one each:
 *	  dst has answered		the lower id of both counts: it is the claim of the other
 *	  only src has sent		S counts, D may not have seen it
 *	H owns neither (a router)	S, or D if src is nobody's
 *
 * A claim says that the record does not count if that host reported at that
 * time; whether it did, the table coverage_minute tells.
 *
 * Threads: a loaded book is only read. Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_ONCE_ADDRESS_BOOK_H
#define WEIR_COLLECTOR_ONCE_ADDRESS_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "proto/flow_block.h"

#define ADDRESS_BOOK_NONE    0		/* no claim */
#define ADDRESS_BOOK_UNOWNED UINT32_MAX /* nobody owns an end */

struct address_book;

/* Reads host_addr. Release with address_book_free(); NULL is a no-op. */
int address_book_load(sqlite3 *db, struct address_book **ret);
void address_book_free(struct address_book *book);

/* Whether no host has told any address. */
bool address_book_is_empty(const struct address_book *book);
/* Whether both say the same of every address at every time. */
bool address_book_equals(const struct address_book *a, const struct address_book *b);
/* The host that owns the address at that time; 0: nobody does. */
uint32_t address_book_owner(const struct address_book *book, const uint8_t addr[16], int64_t ms);

/* Adds the columns that claims are worked out from. */
void address_book_columns(struct flow_columns *columns);

/*
 * claims[i]: of row i, a host_id or one of the two above; room for n_rows. The
 * block has these columns. Returns -ENOMEM.
 */
int address_book_claims(const struct address_book *book, const struct flow_block *b,
			uint32_t *claims);
/* The same of n rows: claims[k] is that of row selected[k]; selected NULL: of the first n. */
int address_book_claims_of(const struct address_book *book, const struct flow_block *b,
			   const uint32_t *selected, size_t n, uint32_t *claims);

#endif /* WEIR_COLLECTOR_ONCE_ADDRESS_BOOK_H */
