/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* fuzz_table_file.c - a CSV or NDJSON file of db import, to the records in it. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "collector/db/record_text.h"
#include "collector/db/table_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_record(const struct table_row *row)
{
	struct record_text t;
	const char *why = NULL;

	record_text_begin(&t);
	for (size_t i = 0; !why && i < row->n; i++) {
		int c = flow_column_find(row->names[i]);

		if (c >= 0)
			why = record_text_set(&t, (enum flow_column)c, row->values[i]);
	}
	if (why || record_text_end(&t))
		return;
	assert(t.record.start_ns <= t.record.end_ns);
	assert(t.record.end_ns / 1000000 <= FLOW_TIME_MAX_MS);
	assert(memchr(t.record.dns_qname, '\0', sizeof(t.record.dns_qname)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int found, fd = memfd_create("table", MFD_CLOEXEC);
	struct table_file *file = NULL;
	struct table_row row;
	const char *why = NULL;
	char path[32];

	assert(fd >= 0);
	assert(write(fd, data, len) == (ssize_t)len);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert(table_file_open(path, &file) == 0);
	while ((found = table_file_next(file, &row, &why)) > 0) {
		assert(row.n <= TABLE_CELLS_MAX);
		for (size_t i = 0; i < row.n; i++)
			assert(row.names[i] && strlen(row.names[i]) <= TABLE_LINE_MAX);
		check_record(&row);
	}
	assert(found == 0 ? table_file_bytes(file) == len : found == -EBADMSG && why);
	table_file_close(file);
	(void)close(fd); /* in memory only */
	return 0;
}
