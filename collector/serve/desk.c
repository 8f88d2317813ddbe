// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/desk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "collector/access/admission.h"
#include "collector/access/gate.h"
#include "collector/serve/job.h"
#include "collector/serve/refusals.h"
#include "collector/serve/router.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/queue.h"
#include "proto/enroll.h"
#include "proto/frame.h"

struct desk {
	struct router *router;
	struct queue *jobs;
	struct refusals *refusals;
	uint64_t second_ns; /* CLOCK_MONOTONIC: when the second began */
	unsigned n_second;  /* requests since */
};

DEFINE_CLEANUP(struct desk *, desk_close)

int desk_open(struct gate *gate, const char *endpoint, size_t max_waiting, struct queue *jobs,
	      struct refusals *refusals, struct desk **ret)
{
	cleanup(desk_close_p) struct desk *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return -ENOMEM;
	d->jobs = jobs;
	d->refusals = refusals;
	err = router_open(gate, GATE_ENROLL, endpoint, max_waiting, &d->router);
	if (err)
		return err;
	*ret = take_ptr(d);
	return 0;
}

void desk_close(struct desk *d)
{
	if (!d)
		return;
	router_close(d->router);
	free(d);
}

const char *desk_endpoint(const struct desk *d)
{
	return router_endpoint(d->router);
}

struct router *desk_router(struct desk *d)
{
	return d->router;
}

static void send_result(struct desk *d, const struct peer_id *peer, const struct enroll_result *r)
{
	struct packed frame;
	int err = enroll_result_pack(r, &frame);

	if (!err)
		err = router_send(d->router, peer, &frame);
	if (err)
		log_debug("an answer could not be sent: %s", zmq_strerror(-err));
}

static void count(struct desk *d, const char *address, const char *why)
{
	uint64_t n = refusals_add(d->refusals, address[0] ? address : "(unknown address)", why,
				  (int64_t)(clock_real_ns() / NS_PER_MS));

	if (n > 0)
		log_warn("enrolment: refused %" PRIu64 " message%s of %s: %s", n, n > 1 ? "s" : "",
			 address, why);
}

static void refuse(struct desk *d, const struct router_message *m, enum enroll_status status,
		   const char *why)
{
	struct enroll_result r = {.status = status};

	count(d, m->address, why);
	(void)snprintf(r.text, sizeof(r.text), "%s", why);
	send_result(d, &m->peer, &r);
}

static bool too_many(struct desk *d)
{
	uint64_t now_ns = clock_mono_ns();

	if (now_ns - d->second_ns >= NS_PER_SEC) {
		d->second_ns = now_ns;
		d->n_second = 0;
	}
	return ++d->n_second > DESK_PER_SECOND;
}

/* Takes e. */
static void hand_over(struct desk *d, const struct router_message *m, struct enrollment *e)
{
	struct job *job;

	if (job_new(JOB_ENROLL, e, 0, 0, &job) != 0) {
		free(e);
		refuse(d, m, ENROLL_RETRY, "the collector is out of memory");
		return;
	}
	job->peer = m->peer;
	if (queue_push(d->jobs, job, 0) != 0) {
		job_free(job);
		refuse(d, m, ENROLL_RETRY, "the collector is overloaded");
	}
}

static void on_message(struct desk *d, const struct router_message *m)
{
	cleanup(free_p) struct enrollment *e = NULL;
	enum frame_error bad;
	const char *why = "";
	struct frame f;

	if (too_many(d)) {
		refuse(d, m, ENROLL_RETRY, "too many requests to be admitted");
		return;
	}
	if (m->many_parts || !m->has_key) {
		refuse(d, m, ENROLL_REFUSED, m->has_key ? "more than one part" : "no key");
		return;
	}
	bad = frame_open(m->data, m->len, &f);
	if (bad != FRAME_OK || f.type != FRAME_ENROLL) {
		refuse(d, m, ENROLL_REFUSED,
		       bad != FRAME_OK ? frame_error_text(bad) : "not a request to be admitted");
		return;
	}
	e = calloc(1, sizeof(*e));
	if (!e || enroll_unpack(f.body, f.body_len, &e->ask, &why) == -ENOMEM) {
		refuse(d, m, ENROLL_RETRY, "the collector is out of memory");
		return;
	}
	if (why && *why) {
		refuse(d, m, ENROLL_REFUSED, why);
		return;
	}
	memcpy(e->key, m->key, sizeof(e->key));
	memcpy(e->address, m->address, sizeof(e->address));
	hand_over(d, m, take_ptr(e));
}

int desk_receive(struct desk *d, int max)
{
	struct router_message m;

	for (int i = 0; i < max; i++) {
		int err = router_receive(d->router, &m);

		if (err)
			return err == -EAGAIN || err == -EINTR ? 0 : err;
		on_message(d, &m);
	}
	return 0;
}

void desk_answer(struct desk *d, const struct job *job)
{
	static const struct enroll_result later = {.status = ENROLL_RETRY,
						   .text = "the database cannot be written now"};
	static const struct enroll_result invalid = {.status = ENROLL_REFUSED,
						     .text = "a value that the database refuses"};
	const struct enroll_result *r = &job->enrollment->result;

	if (job->outcome == JOB_DONE && job->enrollment->news)
		log_info("enrolment: %s from %s: %s", job->enrollment->ask.host_name,
			 job->enrollment->address, r->text);
	else if (job->outcome == JOB_DONE && r->status == ENROLL_REFUSED)
		count(d, job->enrollment->address, r->text);
	send_result(d, &job->peer,
		    job->outcome == JOB_DONE	  ? r
		    : job->outcome == JOB_INVALID ? &invalid
						  : &later);
}
