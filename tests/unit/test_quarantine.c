// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probe/spool/quarantine.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/remove_folder.h"

#define EPOCH 0xfedcba9876543210ull

struct fixture {
	char dir[32], spool[64];
	size_t n;
	struct quarantined first, last;
};

static int setup(void **state)
{
	static struct fixture f;

	(void)snprintf(f.dir, sizeof(f.dir), "/tmp/weir-test.XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	(void)snprintf(f.spool, sizeof(f.spool), "%s/spool.db", f.dir);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	return remove_folder(f->dir);
}

static void note(const struct quarantined *q, void *arg)
{
	struct fixture *f = arg;

	if (f->n++ == 0)
		f->first = *q;
	f->last = *q;
}

static size_t count(struct fixture *f)
{
	f->n = 0;
	assert_int_equal(quarantine_each(f->spool, note, f), 0);
	return f->n;
}

static unsigned put(struct fixture *f, uint64_t seq, size_t len, const char *why)
{
	uint8_t *frame = calloc(1, len);
	unsigned dropped = 99;

	assert_non_null(frame);
	assert_int_equal(quarantine_put(f->spool, EPOCH, seq, frame, len, why, &dropped), 0);
	free(frame);
	return dropped;
}

static void a_refused_batch_is_kept_with_its_reason(void **state)
{
	struct fixture *f = *state;
	char path[160];

	assert_int_equal(count(f), 0); /* not even a folder */
	assert_int_equal(put(f, 7, 1000, "bytes\nout of\x1b[2J range"), 0);
	assert_int_equal(put(f, 7, 1000, "bytes\nout of\x1b[2J range"), 0); /* told again */
	assert_int_equal(count(f), 1);
	assert_int_equal(f->first.epoch, EPOCH);
	assert_int_equal(f->first.seq, 7);
	assert_true(f->first.at_ms > 1600000000000);
	assert_in_range(f->first.bytes, 1000, 1100);
	assert_string_equal(f->first.why, "bytes out of [2J range");
	(void)snprintf(path, sizeof(path), "%s.refused/strange", f->spool); /* not ours */
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(count(f), 1);
}

static void the_oldest_go_by_number(void **state)
{
	struct fixture *f = *state;
	unsigned dropped = 0;

	for (uint64_t seq = 1; seq <= QUARANTINE_FILES + 5; seq++)
		dropped += put(f, seq, 10, "junk");
	assert_int_equal(dropped, 5);
	assert_int_equal(count(f), QUARANTINE_FILES);
	assert_int_equal(f->last.seq, QUARANTINE_FILES + 5);
	assert_int_equal(f->first.seq, 6);
}

static void the_oldest_go_by_size(void **state)
{
	struct fixture *f = *state;
	unsigned dropped = 0;

	for (uint64_t seq = 1; seq <= 6; seq++)
		dropped += put(f, seq, 1000000, "junk");
	assert_int_equal(dropped, 2);
	assert_int_equal(count(f), 4);
	assert_int_equal(f->last.seq, 6);
}

static void it_may_fail(void **state)
{
	struct fixture *f = *state;
	unsigned dropped;

	(void)fail_alloc_at(1);
	assert_int_equal(quarantine_put(f->spool, EPOCH, 1, (const uint8_t *)"x", 1, "", &dropped),
			 -ENOMEM);
	assert_true(fail_alloc_at(0));
	(void)snprintf(f->spool, sizeof(f->spool), "%s/nowhere/spool.db", f->dir);
	assert_int_equal(quarantine_put(f->spool, EPOCH, 1, (const uint8_t *)"x", 1, "", &dropped),
			 -ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_refused_batch_is_kept_with_its_reason),
		TEST(the_oldest_go_by_number),
		TEST(the_oldest_go_by_size),
		TEST(it_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
