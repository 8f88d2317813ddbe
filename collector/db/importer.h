/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * importer.h - records of elsewhere into a database that nobody serves.
 *
 *	importer_open(path, &i, &why);
 *	importer_begin(i, hash, name, now_ms, &state);	IMPORT_DONE: it is all here
 *	for each transaction:
 *		importer_transaction(i);
 *		importer_host(i, &host, &id); importer_put(i, id, &record); ...
 *		importer_commit(i, last);		or importer_rollback(i)
 *
 * A record becomes part of a fresh batch, as if it had just come in, and with
 * importer_commit() of a segment. Each source has a hash of all that is in it:
 * one that was imported to its end is not imported again, one that was
 * interrupted goes on. Parts of a source that come in transactions of their own
 * have hashes, too (importer_unit()).
 *
 * Memory: up to IMPORTER_ROWS records. Threads: one. Errors: those of db.h;
 * -EBADMSG for a record that no probe could have sent.
 */
#ifndef WEIR_COLLECTOR_DB_IMPORTER_H
#define WEIR_COLLECTOR_DB_IMPORTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#define IMPORT_HASH_BYTES 16
#define IMPORTER_ROWS	  16384

struct flow_record;
struct importer;

enum import_state {
	IMPORT_NEW,
	IMPORT_INTERRUPTED, /* some of its units are here */
	IMPORT_DONE,	    /* and so is not to be imported again */
};

int importer_open(const char *db_path, struct importer **ret, const char **ret_why);
/* NULL is a no-op. */
void importer_close(struct importer *i);

int importer_begin(struct importer *i, const uint8_t hash[IMPORT_HASH_BYTES], const char *source,
		   int64_t now_ms, enum import_state *ret);
/* Whether a unit of any source is here: 1, 0 or an error. */
int importer_has_unit(struct importer *i, const uint8_t hash[IMPORT_HASH_BYTES]);

int importer_transaction(struct importer *i);
/* The unit that the records of the transaction are. */
int importer_unit(struct importer *i, const uint8_t hash[IMPORT_HASH_BYTES]);
int importer_put(struct importer *i, int64_t host_id, const struct flow_record *r);
/* last: the source is at its end. Makes segments of what is here. */
int importer_commit(struct importer *i, bool last, int64_t now_ms);
void importer_rollback(struct importer *i);
uint64_t importer_rows(const struct importer *i); /* committed, of this source */

/* The connection that writes, for statements within the transaction. */
sqlite3 *importer_db(struct importer *i);

#endif /* WEIR_COLLECTOR_DB_IMPORTER_H */
