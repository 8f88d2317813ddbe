// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/rollup/rollup_ready.h"

#include <stdlib.h>
#include <string.h>

#include "collector/once/address_book.h"

static void forget_first(struct rollup_ready *r, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		r->n_rows -= r->segments[i].rows.n;
		rollup_table_done(&r->segments[i].rows);
	}
	r->n -= n;
	memmove(r->segments, r->segments + n, r->n * sizeof(r->segments[0]));
	if (r->n == 0) { /* the next one is of the newest book */
		address_book_free(r->book);
		r->book = NULL;
	}
}

void rollup_ready_done(struct rollup_ready *r)
{
	forget_first(r, r->n);
}

int rollup_ready_add(struct rollup_ready *r, sqlite3 *db, int64_t id, const struct flow_block *b)
{
	struct rollup_table rows = {0};
	int err = 0;

	if (r->n == ROLLUP_MAX_SEGMENTS || r->n_rows >= ROLLUP_READY_ROWS)
		return 0;
	if (!r->book)
		err = address_book_load(db, &r->book);
	if (!err)
		err = rollup_table_add(&rows, b, r->book);
	if (err || r->n_rows + rows.n > ROLLUP_READY_ROWS) {
		rollup_table_done(&rows);
		return err;
	}
	rollup_table_trim(&rows);
	r->n_rows += rows.n;
	r->segments[r->n].id = id;
	r->segments[r->n++].rows = rows;
	return 0;
}

void rollup_ready_check(struct rollup_ready *r, const struct address_book *book)
{
	if (r->book && !address_book_equals(r->book, book))
		forget_first(r, r->n);
}

struct rollup_table *rollup_ready_find(struct rollup_ready *r, int64_t id)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->segments[i].id == id)
			return &r->segments[i].rows;
	return NULL;
}

void rollup_ready_forget(struct rollup_ready *r, int64_t until_id)
{
	size_t n = 0;

	while (n < r->n && r->segments[n].id <= until_id)
		n++;
	forget_first(r, n);
}
