/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* store_fixture.h - a store on a real file, and a second connection that looks from outside. */
#ifndef WEIR_TESTS_UNIT_STORE_FIXTURE_H
#define WEIR_TESTS_UNIT_STORE_FIXTURE_H

#include "tests/unit/sample_jobs.h"

struct fixture {
	struct sample_dir dir;
	struct store *store;
	sqlite3 *outside;
};

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *why = NULL;

	if (!f)
		return -1;
	sample_dir_make(&f->dir);
	*state = f;
	if (store_open(f->dir.path, &f->store, &why) != 0)
		return -1;
	f->outside = sample_reader(f->dir.path);
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	sqlite3_close(f->outside);
	store_close(f->store);
	sample_dir_remove(&f->dir);
	free(f);
	return 0;
}

/* The outcome of a batch; *ret_last_seq may be NULL. */
static inline enum job_outcome apply_batch(struct fixture *f, struct batch *batch,
					   uint64_t *ret_last_seq)
{
	struct job *job = sample_apply(f->store, JOB_BATCH, batch, 0);
	enum job_outcome outcome = job->outcome;

	if (ret_last_seq)
		*ret_last_seq = job->last_seq;
	job_free(job);
	return outcome;
}

static inline uint64_t apply_hello(struct fixture *f, uint8_t host, uint64_t oldest_seq)
{
	struct job *job = sample_apply_hello(f->store, host, oldest_seq);
	uint64_t last_seq = job->last_seq;

	assert_int_equal(job->outcome, JOB_DONE);
	job_free(job);
	return last_seq;
}

static inline int64_t count_flows(struct fixture *f)
{
	return sample_int(f->outside, "SELECT count(*) FROM flows");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif /* WEIR_TESTS_UNIT_STORE_FIXTURE_H */
