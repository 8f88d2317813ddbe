/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* capture.h - what a call writes to stdout and stderr, for the tests of commands. */
#ifndef WEIR_TESTS_UNIT_CAPTURE_H
#define WEIR_TESTS_UNIT_CAPTURE_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct capture {
	int saved[2];
	FILE *file[2];
	char out[65536], err[16384];
};

static inline void capture_start(struct capture *c)
{
	(void)fflush(stdout);
	for (int i = 0; i < 2; i++) {
		c->saved[i] = dup(i + 1);
		c->file[i] = tmpfile();
		assert_non_null(c->file[i]);
		assert_true(dup2(fileno(c->file[i]), i + 1) >= 0);
	}
}

/* Gives the descriptors back, and what came in c->out and c->err (cut if longer). */
static inline void capture_stop(struct capture *c)
{
	char *text[] = {c->out, c->err};
	const size_t size[] = {sizeof(c->out), sizeof(c->err)};

	(void)fflush(stdout);
	for (int i = 0; i < 2; i++) {
		rewind(c->file[i]);
		text[i][fread(text[i], 1, size[i] - 1, c->file[i])] = '\0';
		assert_true(dup2(c->saved[i], i + 1) >= 0);
		close(c->saved[i]);
		(void)fclose(c->file[i]);
	}
}

#endif /* WEIR_TESTS_UNIT_CAPTURE_H */
