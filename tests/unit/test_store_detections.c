/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Incidents and baselines: what a bucket taught is stored once, and not without bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "collector/detect/detection.h"
#include "tests/unit/store_fixture.h"

static struct detection *detection(int64_t done, int64_t until)
{
	struct detection *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	d->done_until_ms = done;
	d->until_ms = until;
	d->findings = calloc(1, sizeof(*d->findings));
	d->learnt = calloc(1, sizeof(*d->learnt));
	assert_non_null(d->findings);
	assert_non_null(d->learnt);
	d->findings[d->n_findings++] = (struct finding){
		.kind = "port_scan",
		.severity = "warn",
		.unit = "ports",
		.start_ms = done,
		.end_ms = until,
		.dst_port = -1,
		.proto = -1,
		.hosts = sqlite3_mprintf("a,b"),
		.value = 20,
		.baseline = NAN,
		.threshold = 15,
		.minutes = 1,
		.detail = sqlite3_mprintf("d"),
		.evidence_sql = sqlite3_mprintf("SELECT 1"),
	};
	d->learnt[d->n_learnt++] =
		(struct learnt){sqlite3_mprintf("src 10.0.0.%lld", (long long)until), 5, 1, 2};
	return d;
}

static void test_a_bucket_is_stored_once(void **state)
{
	struct fixture *f = *state;

	job_free(sample_apply(f->store, JOB_DETECTION, detection(0, 60), 0));
	job_free(sample_apply(f->store, JOB_DETECTION, detection(0, 60), 0)); /* judged twice */
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM incident"), 1);
	job_free(sample_apply(f->store, JOB_DETECTION, detection(60, 120), 0));
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM incident"), 2);
	assert_int_equal(sample_int(f->outside, "SELECT done_until_ms FROM detector_state"), 120);
	assert_int_equal(sample_int(f->outside,
				    "SELECT count(*) FROM incident WHERE baseline IS NULL"
				    " AND dst_port IS NULL AND proto IS NULL"),
			 2);
}

static void test_baselines_are_bounded(void **state)
{
	struct fixture *f = *state;
	size_t rows = 0;

	for (int64_t i = 0; i < 5; i++)
		job_free(sample_apply(f->store, JOB_DETECTION, detection(i, i + 1), 0));
	assert_int_equal(store_trim_baselines(f->store, 2, &rows), 0);
	assert_int_equal(rows, 3);
	sample_assert_text(f->outside, "SELECT group_concat(subject) FROM baseline",
			   "src 10.0.0.4,src 10.0.0.5");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_bucket_is_stored_once),
		TEST(test_baselines_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
