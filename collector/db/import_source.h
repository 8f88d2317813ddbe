/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * import_source.h - what db import takes: files of db export, and databases.
 *
 * Functions return an exit status (common/exit_code.h) and have then said on
 * stderr what is wrong, with the line where there is one.
 */
#ifndef WEIR_COLLECTOR_DB_IMPORT_SOURCE_H
#define WEIR_COLLECTOR_DB_IMPORT_SOURCE_H

#include <stdint.h>

struct importer;

/* CSV or NDJSON, in one transaction. Hosts go by their names; unknown ones are made. */
int import_table_file(struct importer *i, const char *path, int64_t now_ms);

/*
 * A weir database of this version, block by block: what is interrupted goes on.
 * Hosts go by their probe ids. One that has grown since it was imported is
 * refused, as its last segments have been made anew with what came.
 */
int import_database(struct importer *i, const char *path, int64_t now_ms);

#endif /* WEIR_COLLECTOR_DB_IMPORT_SOURCE_H */
