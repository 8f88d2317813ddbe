/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dump.h - capture files (pcap), written for tests. */
#ifndef WEIR_TESTS_UNIT_DUMP_H
#define WEIR_TESTS_UNIT_DUMP_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DUMP_US 0xa1b2c3d4u /* magic: what a time stamp's second half counts */
#define DUMP_NS 0xa1b23c4du

struct dump {
	char path[32];
	FILE *file;
};

static inline void dump_put(struct dump *d, const void *data, size_t n)
{
	assert_int_equal(fwrite(data, 1, n, d->file), n);
}

/* An empty file of a name of its own. */
static inline struct dump dump_new(void)
{
	struct dump d = {.path = "/tmp/weir-test-XXXXXX"};

	d.file = fdopen(mkstemp(d.path), "w");
	assert_non_null(d.file);
	return d;
}

/* A file with a header for packets of this link type (LINKTYPE_*). */
static inline struct dump dump_start(uint32_t magic, uint32_t link)
{
	const uint32_t head[] = {magic, 2 | 4 << 16, 0, 0, 65535, link};
	struct dump d = dump_new();

	dump_put(&d, head, sizeof(head));
	return d;
}

/* A packet of len bytes, captured of them in the file. */
static inline void dump_add(struct dump *d, uint32_t s, uint32_t fraction, const void *data,
			    uint32_t captured, uint32_t len)
{
	const uint32_t head[] = {s, fraction, captured, len};

	dump_put(d, head, sizeof(head));
	dump_put(d, data, captured);
}

/* The file is complete; its path. */
static inline char *dump_end(struct dump *d)
{
	assert_int_equal(fclose(d->file), 0);
	return d->path;
}

static inline void dump_remove(const struct dump *d)
{
	assert_int_equal(unlink(d->path), 0);
}

#endif /* WEIR_TESTS_UNIT_DUMP_H */
