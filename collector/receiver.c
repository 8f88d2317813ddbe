// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/receiver.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "collector/job.h"
#include "collector/refusals.h"
#include "collector/router.h"
#include "collector/sessions.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/queue.h"
#include "proto/frame.h"
#include "proto/message.h"

#define TICK_MS	     1000
#define STOP_POLL_MS 100
#define BURST	     64 /* messages received before answers get their turn */
#define HEARTBEAT_MS 2000

#define RETRY_OVERLOADED_MS 500
#define RETRY_STORAGE_MS    1000
#define RETRY_FULL_HOUSE_MS 30000

struct receiver {
	struct router *router;
	struct queue *jobs, *replies;
	struct sessions *sessions;
	struct refusals *refusals;
	uint64_t silent_ns;
	uint64_t tick_ns; /* CLOCK_MONOTONIC, of the next tick */
};

/* Why a message is refused, and what its sender is told. */
struct reason {
	const char *text;
	enum nack_code code;
	uint32_t retry_after_ms;
};

static const struct reason no_memory = {"the collector is out of memory", NACK_OVERLOADED,
					RETRY_OVERLOADED_MS};

DEFINE_CLEANUP(struct receiver *, receiver_free)

int receiver_new(const struct receiver_settings *settings, struct queue *jobs,
		 struct queue *replies, struct receiver **ret)
{
	cleanup(receiver_free_p) struct receiver *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->jobs = jobs;
	r->replies = replies;
	r->silent_ns = settings->silent_ms * NS_PER_MS;
	err = sessions_new(settings->max_peers, &r->sessions);
	if (!err)
		err = refusals_new(&r->refusals);
	if (!err)
		err = router_open(settings->endpoint, &r->router);
	if (err)
		return err;
	*ret = take_ptr(r);
	return 0;
}

void receiver_free(struct receiver *r)
{
	if (!r)
		return;
	router_close(r->router);
	refusals_free(r->refusals);
	sessions_free(r->sessions);
	free(r);
}

const char *receiver_endpoint(const struct receiver *r)
{
	return router_endpoint(r->router);
}

static int64_t real_ms(void)
{
	return (int64_t)(clock_real_ns() / NS_PER_MS);
}

/* --- answers --------------------------------------------------------------- */

/* err and frame are of packing the answer. A probe that misses one asks again. */
static void answer(struct receiver *r, const struct peer_id *peer, int err, struct packed *frame)
{
	struct session *s;

	if (!err)
		err = router_send(r->router, peer, frame);
	if (err == -EHOSTUNREACH) {
		s = sessions_find(r->sessions, peer);
		if (s) {
			log_info("host %s disconnected", s->name);
			sessions_remove(r->sessions, s);
		}
	} else if (err) {
		log_debug("an answer could not be sent: %s", zmq_strerror(-err));
	}
}

static void send_nack(struct receiver *r, const struct peer_id *peer, const struct nack *nack)
{
	struct packed frame;
	int err = nack_pack(nack, &frame);

	answer(r, peer, err, &frame);
}

static void send_welcome(struct receiver *r, const struct session *s)
{
	const struct welcome w = {
		.version_major = PROTO_VERSION_MAJOR,
		.version_minor = PROTO_VERSION_MINOR,
		.epoch = s->epoch,
		.last_seq = s->last_seq,
		.credit_bytes = RECEIVER_CREDIT_BYTES,
		.max_batch_bytes = FRAME_MAX_BYTES,
		.heartbeat_ms = HEARTBEAT_MS,
		.real_ns = clock_real_ns(),
	};
	struct packed frame;
	int err = welcome_pack(&w, &frame);

	answer(r, &s->peer, err, &frame);
}

static void send_ack(struct receiver *r, const struct job *job)
{
	const struct ack a = {
		.epoch = job->batch->epoch,
		.up_to_seq = job->last_seq,
		.credit_bytes = RECEIVER_CREDIT_BYTES,
	};
	struct packed frame;
	int err = ack_pack(&a, &frame);

	answer(r, &job->peer, err, &frame);
}

/* Counts, names and answers a message that is not taken. s may be NULL. */
static void refuse(struct receiver *r, const struct router_message *m, const struct session *s,
		   const struct batch *batch, const struct reason *why)
{
	const char *peer = s ? s->name : m->address[0] ? m->address : "(unknown address)";
	struct nack nack = {
		.epoch = batch ? batch->epoch
			 : s   ? s->epoch
			       : 0,
		.seq = batch ? batch->seq : 0,
		.last_seq = s ? s->last_seq : 0,
		.code = why->code,
		.retry_after_ms = why->retry_after_ms,
	};
	uint64_t n = refusals_add(r->refusals, peer, why->text, real_ms());

	if (n > 0)
		log_warn("refused %" PRIu64 " message%s of %s%s%s%s: %s", n, n > 1 ? "s" : "", peer,
			 s ? " (" : "", s ? s->address : "", s ? ")" : "", why->text);
	(void)snprintf(nack.text, sizeof(nack.text), "%s", why->text);
	send_nack(r, &m->peer, &nack);
}

/* --- messages --------------------------------------------------------------- */

/* Hands what over to the writer; 0 or a reason to refuse. Takes what in every case. */
static const struct reason *hand_over(struct receiver *r, const struct router_message *m,
				      enum job_kind kind, void *what)
{
	static const struct reason full = {"the collector is overloaded", NACK_OVERLOADED,
					   RETRY_OVERLOADED_MS};
	struct job *job;

	if (job_new(kind, what, 0, m->len, &job) != 0)
		return &no_memory;
	job->peer = m->peer;
	if (queue_push(r->jobs, job, job->weight) != 0) {
		job_free(job);
		return &full;
	}
	return NULL;
}

/* The session of the probe that says HELLO. NULL with *ret_why set if there can be none. */
static struct session *get_session(struct receiver *r, const struct router_message *m,
				   const struct hello *h, const struct reason **ret_why)
{
	static const struct reason full_house = {"too many peers", NACK_OVERLOADED,
						 RETRY_FULL_HOUSE_MS};
	struct session *s = sessions_find(r->sessions, &m->peer);
	struct session *other = sessions_find_probe(r->sessions, h->probe_id);
	int err;

	if (other && other != s) /* the probe has connected anew */
		sessions_remove(r->sessions, other);
	if (s)
		return s;
	err = sessions_add(r->sessions, &m->peer, &s);
	if (err) {
		*ret_why = err == -ENOSPC ? &full_house : &no_memory;
		return NULL;
	}
	return s;
}

static void fill_session(struct session *s, const struct router_message *m, const struct hello *h)
{
	if (memcmp(s->probe_id, h->probe_id, sizeof(s->probe_id)) != 0 || s->epoch != h->epoch) {
		s->welcomed = false;
		s->last_seq = 0;
	}
	memcpy(s->probe_id, h->probe_id, sizeof(s->probe_id));
	s->epoch = h->epoch;
	s->heard = true;
	s->heard_ns = clock_mono_ns();
	memcpy(s->name, h->host_name, sizeof(s->name));
	memcpy(s->address, m->address, sizeof(s->address));
}

/* Only what is wrong with the message itself is for ever. */
static struct reason unpack_failed(int err, const char *why)
{
	return err == -ENOMEM ? no_memory : (struct reason){why, NACK_MALFORMED, 0};
}

static void on_hello(struct receiver *r, const struct router_message *m, struct session *s,
		     const struct frame *f)
{
	static const struct reason other_major = {"another version of the protocol",
						  NACK_UNSUPPORTED, 0};
	cleanup(free_p) struct hello *h = malloc(sizeof(*h));
	const struct reason *why = NULL;
	const char *text = NULL;
	struct reason bad;
	int err;

	err = h ? hello_unpack(f->body, f->body_len, h, &text) : -ENOMEM;
	if (err) {
		bad = unpack_failed(err, text);
		refuse(r, m, s, NULL, &bad);
		return;
	}
	if (h->version_major != PROTO_VERSION_MAJOR) {
		refuse(r, m, s, NULL, &other_major);
		return;
	}
	s = get_session(r, m, h, &why);
	if (s) {
		fill_session(s, m, h);
		why = hand_over(r, m, JOB_HELLO, take_ptr(h));
	}
	if (why)
		refuse(r, m, s, NULL, why);
}

/* Whether the batch is one of this session, and within its credit. */
static const struct reason *check_batch(const struct session *s, const struct router_message *m,
					const struct batch *batch)
{
	static const struct reason other_probe = {"batch of another probe", NACK_MALFORMED, 0};
	static const struct reason other_epoch = {"batch of another epoch", NACK_NO_HELLO, 0};
	static const struct reason over_credit = {"more bytes than its credit", NACK_OVERLOADED,
						  RETRY_OVERLOADED_MS};

	if (memcmp(batch->probe_id, s->probe_id, sizeof(s->probe_id)) != 0)
		return &other_probe;
	if (batch->epoch != s->epoch)
		return &other_epoch;
	if (s->queued_bytes + m->len > RECEIVER_CREDIT_BYTES)
		return &over_credit;
	return NULL;
}

static void on_batch(struct receiver *r, const struct router_message *m, struct session *s,
		     const struct frame *f)
{
	static const struct reason no_hello = {"batch without a HELLO", NACK_NO_HELLO, 0};
	const struct reason *why;
	const char *text = NULL;
	struct batch *batch;
	struct reason bad;
	struct batch id;
	int err;

	if (!s) {
		refuse(r, m, NULL, NULL, &no_hello);
		return;
	}
	err = batch_unpack(f->body, f->body_len, &batch, &text);
	if (err) {
		bad = unpack_failed(err, text);
		refuse(r, m, s, NULL, &bad);
		return;
	}
	id = *batch; /* the batch itself may be gone when it is refused */
	why = check_batch(s, m, batch);
	if (why)
		batch_free(batch);
	else
		why = hand_over(r, m, JOB_BATCH, batch);
	if (why)
		refuse(r, m, s, &id, why);
	else
		s->queued_bytes += m->len;
}

static void on_ping(struct receiver *r, const struct router_message *m, const struct session *s,
		    const struct frame *f)
{
	/* After a restart of the collector this is how a probe learns of it: no refusal. */
	static const struct nack no_hello = {.code = NACK_NO_HELLO, .text = "say HELLO first"};
	const char *text = NULL;
	struct packed frame;
	struct reason bad;
	uint64_t nonce;
	int err;

	err = ping_unpack(f->body, f->body_len, &nonce, &text);
	if (err) {
		bad = unpack_failed(err, text);
		refuse(r, m, s, NULL, &bad);
	} else if (!s) {
		send_nack(r, &m->peer, &no_hello);
	} else {
		err = ping_pack(FRAME_PONG, nonce, &frame);
		answer(r, &m->peer, err, &frame);
	}
}

static void on_frame(struct receiver *r, const struct router_message *m, struct session *s,
		     const struct frame *f)
{
	static const struct reason not_for_us = {"a message that probes do not send",
						 NACK_MALFORMED, 0};

	if (s) {
		s->heard = true;
		s->heard_ns = clock_mono_ns();
	}
	switch (f->type) {
	case FRAME_HELLO:
		on_hello(r, m, s, f);
		break;
	case FRAME_BATCH:
		on_batch(r, m, s, f);
		break;
	case FRAME_PING:
		on_ping(r, m, s, f);
		break;
	default:
		refuse(r, m, s, NULL, &not_for_us);
	}
}

static void on_message(struct receiver *r, const struct router_message *m)
{
	struct session *s = sessions_find(r->sessions, &m->peer);
	struct reason bad = {.code = NACK_MALFORMED};
	struct frame frame;
	enum frame_error err;

	if (m->many_parts) {
		bad.text = "more than one part";
		refuse(r, m, s, NULL, &bad);
		return;
	}
	err = frame_open(m->data, m->len, &frame);
	if (err != FRAME_OK) {
		bad.text = frame_error_text(err);
		if (err == FRAME_BAD_MAJOR)
			bad.code = NACK_UNSUPPORTED;
		refuse(r, m, s, NULL, &bad);
		return;
	}
	on_frame(r, m, s, &frame);
}

static int receive_burst(struct receiver *r)
{
	struct router_message m;

	for (int i = 0; i < BURST; i++) {
		int err = router_receive(r->router, &m);

		if (err)
			return err == -EAGAIN || err == -EINTR ? 0 : err;
		on_message(r, &m);
	}
	return 0;
}

/* --- what comes back from the writer ----------------------------------------- */

static void refuse_job(struct receiver *r, const struct job *job, struct session *s)
{
	static const struct reason by_outcome[] = {
		[JOB_GAP] = {"batches before it are missing", NACK_GAP, 0},
		[JOB_UNKNOWN] = {"say HELLO first", NACK_NO_HELLO, 0},
		[JOB_INVALID] = {"a value that the database refuses", NACK_MALFORMED, 0},
		[JOB_STORAGE] = {"the database cannot be written", NACK_STORAGE, RETRY_STORAGE_MS},
	};
	const struct reason *why = &by_outcome[job->outcome];
	bool hello = job->kind == JOB_HELLO;
	const struct router_message m = {.peer = job->peer};
	struct nack nack = {
		.epoch = hello ? job->hello->epoch : job->batch->epoch,
		.seq = hello ? 0 : job->batch->seq,
		.last_seq = job->outcome == JOB_GAP ? job->last_seq
			    : s			    ? s->last_seq
						    : 0,
		.code = why->code,
		.retry_after_ms = why->retry_after_ms,
	};

	if (job->outcome == JOB_INVALID) {
		refuse(r, &m, s, hello ? NULL : job->batch, why);
		return;
	}
	(void)snprintf(nack.text, sizeof(nack.text), "%s", why->text);
	send_nack(r, &job->peer, &nack);
}

static void welcome(struct receiver *r, const struct job *job, struct session *s)
{
	if (!s || s->epoch != job->hello->epoch)
		return; /* it has gone, or has said HELLO again since */
	s->last_seq = job->last_seq;
	if (!s->welcomed)
		log_info("host %s connected from %s", s->name, s->address);
	s->welcomed = true;
	send_welcome(r, s);
}

static void on_reply(struct receiver *r, struct job *job)
{
	struct session *s;

	if (job->kind == JOB_REFUSALS) {
		refusals_settle(r->refusals, job->outcome == JOB_DONE);
		return;
	}
	s = sessions_find(r->sessions, &job->peer);
	if (s && job->kind == JOB_BATCH)
		s->queued_bytes -= job->weight < s->queued_bytes ? job->weight : s->queued_bytes;
	if (job->outcome != JOB_DONE) {
		refuse_job(r, job, s);
	} else if (job->kind == JOB_HELLO) {
		welcome(r, job, s);
	} else {
		if (s && s->epoch == job->batch->epoch && s->last_seq < job->last_seq)
			s->last_seq = job->last_seq;
		send_ack(r, job);
	}
}

static void answer_replies(struct receiver *r)
{
	struct job *job;

	while ((job = queue_pop(r->replies, 0))) {
		on_reply(r, job);
		job_free(job);
	}
}

/* --- once a second ------------------------------------------------------------ */

/* Takes list. What finds no room is told next time: hosts are heard of again, refusals kept. */
static bool push_list(struct receiver *r, enum job_kind kind, void *list, size_t n)
{
	struct job *job;

	if (job_new(kind, list, n, 0, &job) != 0) {
		free(list);
		return false;
	}
	if (queue_push(r->jobs, job, 0) != 0) {
		job_free(job);
		return false;
	}
	return true;
}

/* Returns false while there are refusals that the writer has not been given. */
static bool hand_over_lists(struct receiver *r)
{
	struct seen_host *seen;
	struct refusal *refusals;
	int n;

	n = sessions_seen(r->sessions, real_ms(), &seen);
	if (n > 0)
		(void)push_list(r, JOB_SEEN, seen, (size_t)n);
	if (refusals_with_writer(r->refusals))
		return false;
	n = refusals_take(r->refusals, &refusals);
	if (n > 0 && !push_list(r, JOB_REFUSALS, refusals, (size_t)n)) {
		refusals_settle(r->refusals, false);
		return false;
	}
	return n >= 0;
}

static void say_silent(const struct session *s)
{
	log_info("host %s (%s) is silent: nothing heard for %" PRIu64 " s", s->name, s->address,
		 (uint64_t)((clock_mono_ns() - s->heard_ns) / NS_PER_SEC));
}

static void tick(struct receiver *r)
{
	uint64_t now = clock_mono_ns();

	if (now < r->tick_ns)
		return;
	r->tick_ns = now + TICK_MS * NS_PER_MS;
	if (now > r->silent_ns)
		sessions_expire(r->sessions, now - r->silent_ns, say_silent);
	(void)hand_over_lists(r); /* at the next tick, then */
}

/* --- the loop ------------------------------------------------------------------ */

/*
 * Ends in the order of the data: no more messages, then the last refusals go
 * to the writer, then the answers of all that it has.
 */
static int step_to_end(struct receiver *r)
{
	zmq_pollitem_t item = {.fd = queue_fd(r->replies), .events = ZMQ_POLLIN};

	if (!queue_closed(r->jobs) && hand_over_lists(r))
		queue_close(r->jobs);
	if (zmq_poll(&item, 1, STOP_POLL_MS) < 0 && zmq_errno() != EINTR)
		return -zmq_errno();
	answer_replies(r);
	return 0;
}

/* *ret_stop: whether it is time to stop. */
static int step(struct receiver *r, int stop_fd, bool *ret_stop)
{
	zmq_pollitem_t items[] = {
		{.fd = queue_fd(r->replies), .events = ZMQ_POLLIN},
		{.socket = router_socket(r->router), .events = ZMQ_POLLIN},
		{.fd = stop_fd, .events = ZMQ_POLLIN},
	};
	int err = 0;

	if (zmq_poll(items, 3, TICK_MS) < 0)
		return zmq_errno() == EINTR ? 0 : -zmq_errno();
	answer_replies(r);
	if (items[1].revents)
		err = receive_burst(r);
	tick(r);
	*ret_stop = items[2].revents != 0;
	return err;
}

int receiver_run(struct receiver *r, int stop_fd)
{
	bool stop = false;
	int err = 0;

	while (!err && !stop)
		err = step(r, stop_fd, &stop);
	while (!err && !(queue_closed(r->replies) && queue_length(r->replies) == 0))
		err = step_to_end(r);
	queue_close(r->jobs); /* after an error, so that the writer ends */
	return err;
}
