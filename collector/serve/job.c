// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/job.h"

#include <errno.h>
#include <stdlib.h>

#include "collector/access/admission.h"
#include "collector/detect/detection.h"
#include "collector/flowstore/segment.h"
#include "collector/rollup/rollup.h"
#include "collector/serve/control.h"

int job_new(enum job_kind kind, void *what, size_t n, size_t weight, struct job **ret)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return -ENOMEM;
	job->kind = kind;
	job->n = n;
	job->weight = weight;
	switch (kind) {
	case JOB_HELLO:
		job->hello = what;
		break;
	case JOB_BATCH:
		job->batch = what;
		break;
	case JOB_SEEN:
		job->seen = what;
		break;
	case JOB_REFUSALS:
		job->refusals = what;
		break;
	case JOB_DETECTION:
		job->detection = what;
		break;
	case JOB_ENROLL:
		job->enrollment = what;
		break;
	case JOB_ORDERS:
		job->orders = what;
		break;
	case JOB_RESULT:
		job->result = what;
		break;
	case JOB_ADMIN:
		job->admin = what;
		break;
	case JOB_SEGMENT:
		job->segment = what;
		break;
	case JOB_ROLLUP:
		job->rollup = what;
		break;
	}
	*ret = job;
	return 0;
}

void job_free(void *arg)
{
	struct job *job = arg;

	if (!job)
		return;
	switch (job->kind) {
	case JOB_HELLO:
		free(job->hello);
		break;
	case JOB_BATCH:
		batch_free(job->batch);
		break;
	case JOB_SEEN:
		free(job->seen);
		break;
	case JOB_REFUSALS:
		free(job->refusals);
		break;
	case JOB_DETECTION:
		detection_free(job->detection);
		break;
	case JOB_ENROLL:
		free(job->enrollment);
		break;
	case JOB_ORDERS:
		free(job->orders);
		break;
	case JOB_RESULT:
		free(job->result);
		break;
	case JOB_ADMIN:
		control_finish(job->admin, job->outcome == JOB_DONE);
		break;
	case JOB_SEGMENT:
		segment_free(job->segment);
		break;
	case JOB_ROLLUP:
		rollup_free(job->rollup);
		break;
	}
	free(job);
}
