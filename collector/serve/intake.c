// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/intake.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/serve/job.h"
#include "collector/serve/orders.h"
#include "collector/serve/refusals.h"
#include "collector/serve/router.h"
#include "collector/serve/sessions.h"
#include "common/addr.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/queue.h"
#include "proto/frame.h"

#define FUTURE_MAX_NS	    (86400 * NS_PER_SEC)
#define RETRY_OVERLOADED_MS 500
#define RETRY_FULL_HOUSE_MS 30000

static const struct reason no_memory = {"the collector is out of memory", NACK_OVERLOADED,
					RETRY_OVERLOADED_MS};

static int64_t real_ms(void)
{
	return (int64_t)(clock_real_ns() / NS_PER_MS);
}

/* --- refusing ---------------------------------------------------------------- */

static void count_refusal(struct intake *in, const struct router_message *m,
			  const struct session *s, const char *why)
{
	const char *peer = s ? s->name : m->address[0] ? m->address : "(unknown address)";
	uint64_t n = refusals_add(in->refusals, peer, why, real_ms());

	if (n > 0)
		log_warn("refused %" PRIu64 " message%s of %s%s%s%s: %s", n, n > 1 ? "s" : "", peer,
			 s ? " (" : "", s ? s->address : "", s ? ")" : "", why);
}

void intake_refuse(struct intake *in, const struct router_message *m, const struct session *s,
		   const struct refused *what, const struct reason *why)
{
	struct nack nack = {
		.epoch = what->epoch,
		.seq = what->seq,
		.code = why->code,
		.retry_after_ms = why->retry_after_ms,
	};

	count_refusal(in, m, s, why->text);
	(void)snprintf(nack.text, sizeof(nack.text), "%s", why->text);
	answers_nack(&in->answers, &m->peer, &nack);
}

/* Only what is wrong with the message itself is for ever. */
static void refuse_body(struct intake *in, const struct router_message *m, const struct session *s,
			const struct refused *what, int err, const char *why)
{
	const struct reason bad = {why, NACK_MALFORMED, 0};

	intake_refuse(in, m, s, what, err == -ENOMEM ? &no_memory : &bad);
}

/* Hands what over to the writer; 0 or a reason to refuse. Takes what in every case. */
static const struct reason *hand_over(struct intake *in, const struct router_message *m,
				      enum job_kind kind, void *what)
{
	static const struct reason full = {"the collector is overloaded", NACK_OVERLOADED,
					   RETRY_OVERLOADED_MS};
	struct job *job;

	if (job_new(kind, what, 0, credit_cost(m->len), &job) != 0)
		return &no_memory;
	job->peer = m->peer;
	memcpy(job->key, m->key, sizeof(job->key));
	if (queue_push(in->jobs, job, job->weight) != 0) {
		job_free(job);
		return &full;
	}
	return NULL;
}

/* --- HELLO --------------------------------------------------------------------- */

/* The session of the probe that says HELLO. NULL with *ret_why set if there can be none. */
static struct session *get_session(struct intake *in, const struct router_message *m,
				   const struct hello *h, const struct reason **ret_why)
{
	static const struct reason full_house = {"too many peers", NACK_OVERLOADED,
						 RETRY_FULL_HOUSE_MS};
	struct session *s = sessions_find(in->sessions, &m->peer);
	struct session *other = sessions_find_probe(in->sessions, h->probe_id);
	int err;

	if (other && other != s) /* the probe has connected anew */
		sessions_remove(in->sessions, other);
	if (s)
		return s;
	err = sessions_add(in->sessions, &m->peer, &s);
	if (err) {
		*ret_why = err == -ENOSPC ? &full_house : &no_memory;
		return NULL;
	}
	return s;
}

static void fill_session(struct session *s, const struct router_message *m, const struct hello *h)
{
	uint64_t now_ns = clock_real_ns();

	session_add_probe(s, h->probe_id);
	s->ahead_ns = h->real_ns > now_ns ? h->real_ns - now_ns : 0;
	s->heard = true;
	s->heard_ns = clock_mono_ns();
	memcpy(s->name, h->host_name, sizeof(s->name));
	memcpy(s->address, m->address, sizeof(s->address));
}

static bool are_of_a_host(const struct hello *h)
{
	for (size_t i = 0; i < h->n_addrs; i++)
		if (!addr_is_of_host(h->addrs[i]))
			return false;
	return true;
}

static void on_hello(struct intake *in, const struct router_message *m, struct session *s,
		     const struct frame *f)
{
	static const struct reason other_major = {"another version of the protocol",
						  NACK_UNSUPPORTED, 0};
	static const struct reason other_host = {"HELLO in the name of another host",
						 NACK_NOT_ADMITTED, 0};
	static const struct reason bad_addr = {"address that no host has for itself",
					       NACK_MALFORMED, 0};
	cleanup(free_p) struct hello *h = malloc(sizeof(*h));
	const struct reason *why = NULL;
	struct refused what = {0};
	const char *text = NULL;
	int err;

	err = h ? hello_unpack(f->body, f->body_len, h, &text) : -ENOMEM;
	if (err) {
		refuse_body(in, m, s, &what, err, text);
		return;
	}
	what.epoch = h->epoch;
	if (h->version_major != PROTO_VERSION_MAJOR) {
		intake_refuse(in, m, s, &what, &other_major);
		return;
	}
	if (memcmp(h->probe_id, m->probe_id, sizeof(h->probe_id)) != 0) {
		intake_refuse(in, m, s, &what, &other_host);
		return;
	}
	if (!are_of_a_host(h)) {
		intake_refuse(in, m, s, &what, &bad_addr);
		return;
	}
	s = get_session(in, m, h, &why);
	if (s) {
		fill_session(s, m, h);
		why = hand_over(in, m, JOB_HELLO, take_ptr(h));
	}
	if (why)
		intake_refuse(in, m, s, &what, why);
}

/* --- BATCH ----------------------------------------------------------------------- */

/*
 * Records from the future would outlive their retention. The past may be long
 * ago: a backlog. A clock that is wrong is told with the host (clock_skew_ms).
 */
static bool is_from_the_future(const struct session *s, const struct batch *batch)
{
	uint64_t until_ns = clock_real_ns() + s->ahead_ns + FUTURE_MAX_NS;

	return batch->summary.max_end_ms > until_ns / NS_PER_MS;
}

/* Whether the batch is one of this session, and within its credit. */
static const struct reason *check_batch(struct session *s, const struct router_message *m,
					const struct batch *batch)
{
	static const struct reason other_probe = {"batch of another probe", NACK_NO_HELLO, 0};
	static const struct reason future = {"records more than a day ahead of the host's clock",
					     NACK_MALFORMED, 0};
	static const struct reason over_credit = {"more bytes than its credit", NACK_OVERLOADED,
						  RETRY_OVERLOADED_MS};

	if (!session_has_probe(s, batch->probe_id))
		return &other_probe;
	if (is_from_the_future(s, batch))
		return &future;
	return credit_take(&s->credit, m->len) ? &over_credit : NULL;
}

static void on_batch(struct intake *in, const struct router_message *m, struct session *s,
		     const struct frame *f)
{
	static const struct reason no_hello = {"batch without a HELLO", NACK_NO_HELLO, 0};
	const struct reason *why;
	struct refused what = {0};
	const char *text = NULL;
	struct batch *batch;
	int err;

	batch_peek(f->body, f->body_len, &what.epoch, &what.seq);
	if (!s) {
		intake_refuse(in, m, NULL, &what, &no_hello);
		return;
	}
	err = batch_unpack(f->body, f->body_len, &batch, &text);
	if (err) {
		refuse_body(in, m, s, &what, err, text);
		return;
	}
	why = check_batch(s, m, batch);
	if (why) {
		batch_free(batch);
	} else {
		why = hand_over(in, m, JOB_BATCH, batch);
		FAILPOINT("received");
		if (why)
			credit_settle(&s->credit, m->len);
	}
	if (why)
		intake_refuse(in, m, s, &what, why);
}

/* --- the rest --------------------------------------------------------------------- */

static void on_ping(struct intake *in, const struct router_message *m, const struct session *s,
		    const struct frame *f)
{
	/* After a restart of the collector this is how a probe learns of it: no refusal. */
	static const struct nack no_hello = {.code = NACK_NO_HELLO, .text = "say HELLO first"};
	const char *text = NULL;
	uint64_t nonce;
	int err;

	err = ping_unpack(f->body, f->body_len, &nonce, &text);
	if (err)
		refuse_body(in, m, s, &(struct refused){0}, err, text);
	else if (!s)
		answers_nack(&in->answers, &m->peer, &no_hello);
	else
		answers_pong(&in->answers, &m->peer, nonce);
}

static void on_result(struct intake *in, const struct router_message *m, const struct session *s,
		      const struct frame *f)
{
	static const struct reason no_hello = {"result without a HELLO", NACK_NO_HELLO, 0};
	cleanup(free_p) struct order_result *r = calloc(1, sizeof(*r));
	const struct reason *why;
	const char *text = NULL;
	int err = r ? command_result_unpack(f->body, f->body_len, &r->result, &text) : -ENOMEM;

	if (err) {
		refuse_body(in, m, s, &(struct refused){0}, err, text);
		return;
	}
	why = &no_hello;
	if (s) {
		memcpy(r->probe_id, s->probe_ids[0], sizeof(r->probe_id));
		why = hand_over(in, m, JOB_RESULT, take_ptr(r));
	}
	if (why)
		intake_refuse(in, m, s, &(struct refused){0}, why);
}

static void on_frame(struct intake *in, const struct router_message *m, struct session *s,
		     const struct frame *f)
{
	static const struct reason not_for_us = {"a message that probes do not send",
						 NACK_MALFORMED, 0};

	switch (f->type) {
	case FRAME_HELLO:
		on_hello(in, m, s, f);
		break;
	case FRAME_BATCH:
		on_batch(in, m, s, f);
		break;
	case FRAME_PING:
		on_ping(in, m, s, f);
		break;
	case FRAME_COMMAND_RESULT:
		on_result(in, m, s, f);
		break;
	default:
		intake_refuse(in, m, s, &(struct refused){0}, &not_for_us);
	}
}

/* The session of a connection is that of its key. */
static struct session *find_session(struct intake *in, const struct router_message *m)
{
	struct session *s = sessions_find(in->sessions, &m->peer);

	if (!s || (m->admitted && session_has_probe(s, m->probe_id)))
		return s;
	log_info("host %s (%s) is no longer admitted", s->name, s->address);
	sessions_remove(in->sessions, s);
	return NULL;
}

void intake_message(struct intake *in, const struct router_message *m)
{
	static const struct reason not_admitted = {"its key is not admitted", NACK_NOT_ADMITTED, 0};
	struct session *s = find_session(in, m);
	struct reason bad = {.code = NACK_MALFORMED};
	uint64_t now_ns = clock_mono_ns();
	struct frame frame;
	enum frame_error err;

	if (credit_count(in->pool, s ? &s->credit : &in->strangers, m->len, now_ns)) {
		count_refusal(in, m, s, "more messages than its rate");
		return;
	}
	if (!m->admitted) {
		intake_refuse(in, m, NULL, &(struct refused){0}, &not_admitted);
		return;
	}
	err = m->many_parts ? FRAME_OK : frame_open(m->data, m->len, &frame);
	if (m->many_parts || err != FRAME_OK) {
		bad.text = m->many_parts ? "more than one part" : frame_error_text(err);
		if (err == FRAME_BAD_MAJOR)
			bad.code = NACK_UNSUPPORTED;
		intake_refuse(in, m, s, &(struct refused){0}, &bad);
		return;
	}
	if (s) {
		s->heard = true;
		s->heard_ns = now_ns;
	}
	on_frame(in, m, s, &frame);
}
