// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/receiver.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "collector/access/allow_list.h"
#include "collector/access/gate.h"
#include "collector/serve/answers.h"
#include "collector/serve/desk.h"
#include "collector/serve/intake.h"
#include "collector/serve/job.h"
#include "collector/serve/orders.h"
#include "collector/serve/refusals.h"
#include "collector/serve/router.h"
#include "collector/serve/sessions.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/queue.h"

#define TICK_MS	     1000
#define STOP_POLL_MS 100
#define BURST	     64 /* messages received before answers get their turn */

#define WARN_PERIOD_MS	 30000
#define NO_PEER		 "(connections)"
#define RETRY_STORAGE_MS 1000

struct receiver {
	struct allow_list *allow;
	struct gate *gate;
	uint64_t warn_gate, warn_shown_out; /* log_due() */
	uint64_t shown_out;
	struct router *router;
	struct desk *desk;
	struct queue *jobs, *replies;
	struct sessions *sessions;
	struct refusals *refusals;
	struct credit_pool pool;
	struct intake intake;
	uint64_t silent_ns;
	bool orders_asked; /* the writer is to say which are due */
	uint64_t tick_ns;  /* CLOCK_MONOTONIC, of the next tick */
};

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
	r->pool.total = settings->credit_bytes;
	r->pool.rate_per_s = settings->peer_rate;
	err = sessions_new(settings->max_peers, &r->pool, &r->sessions);
	if (!err)
		err = refusals_new(&r->refusals);
	r->allow = settings->allow;
	if (!err)
		err = gate_open(settings->key, settings->allow, &r->gate);
	if (!err)
		err = router_open(r->gate, GATE_DATA, settings->endpoint, settings->max_waiting,
				  &r->router);
	if (!err)
		err = desk_open(r->gate, settings->enroll_endpoint, settings->max_waiting, jobs,
				r->refusals, &r->desk);
	if (err)
		return err;
	r->intake = (struct intake){
		.answers = {r->router, r->sessions},
		.jobs = jobs,
		.refusals = r->refusals,
		.sessions = r->sessions,
		.pool = &r->pool,
	};
	*ret = take_ptr(r);
	return 0;
}

void receiver_free(struct receiver *r)
{
	if (!r)
		return;
	desk_close(r->desk);
	router_close(r->router);
	gate_close(r->gate);
	refusals_free(r->refusals);
	sessions_free(r->sessions);
	free(r);
}

const char *receiver_endpoint(const struct receiver *r)
{
	return router_endpoint(r->router);
}

const char *receiver_enroll_endpoint(const struct receiver *r)
{
	return desk_endpoint(r->desk);
}

static int64_t real_ms(void)
{
	return (int64_t)(clock_real_ns() / NS_PER_MS);
}

static int receive_burst(struct receiver *r)
{
	struct router_message m;

	for (int i = 0; i < BURST; i++) {
		int err = router_receive(r->router, &m);

		if (err)
			return err == -EAGAIN || err == -EINTR ? 0 : err;
		m.admitted = m.has_key && allow_list_find(r->allow, m.key, m.probe_id);
		intake_message(&r->intake, &m);
	}
	return 0;
}

/* --- what comes back from the writer ----------------------------------------- */

static void refuse_job(struct receiver *r, const struct job *job, const struct session *s)
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
		.last_seq = job->outcome == JOB_GAP ? job->last_seq : 0,
		.code = why->code,
		.retry_after_ms = why->retry_after_ms,
	};

	if (job->outcome == JOB_INVALID) {
		intake_refuse(&r->intake, &m, s, &(struct refused){nack.epoch, nack.seq}, why);
		return;
	}
	(void)snprintf(nack.text, sizeof(nack.text), "%s", why->text);
	answers_nack(&r->intake.answers, &job->peer, &nack);
}

static void welcome(struct receiver *r, const struct job *job, struct session *s)
{
	if (!s || !session_has_probe(s, job->hello->probe_id))
		return; /* it has gone, or is another one now */
	if (!s->welcomed)
		log_info("host %s connected from %s", s->name, s->address);
	s->welcomed = true;
	answers_welcome(&r->intake.answers, s, job->hello->epoch, job->last_seq,
			credit_offer(&r->pool, &s->credit, clock_mono_ns()));
}

/* A peer whose session has gone hears it all the same; its credit comes with the next one. */
static void acknowledge(struct receiver *r, const struct job *job, struct session *s)
{
	const struct ack ack = {
		.epoch = job->batch->epoch,
		.up_to_seq = job->last_seq,
		.credit_bytes = s ? credit_offer(&r->pool, &s->credit, clock_mono_ns())
				  : CREDIT_FLOOR_BYTES,
	};

	FAILPOINT("ack");
	answers_ack(&r->intake.answers, &job->peer, &ack);
	FAILPOINT("ack_sent");
}

/* A host that is not connected is tried again in a while. */
static void send_orders(struct receiver *r, const struct job *job)
{
	r->orders_asked = false;
	for (size_t i = 0; job->outcome == JOB_DONE && i < job->n; i++) {
		const struct order *o = &job->orders[i];
		struct session *s = sessions_find_probe(r->sessions, o->probe_id);
		struct packed frame;

		if (s && s->welcomed && host_command_pack(&o->command, &frame) == 0)
			(void)router_send(r->router, &s->peer, &frame);
	}
}

static void on_reply(struct receiver *r, struct job *job)
{
	struct session *s;

	if (job->kind == JOB_REFUSALS) {
		refusals_settle(r->refusals, job->outcome == JOB_DONE);
		return;
	}
	if (job->kind == JOB_ORDERS) {
		send_orders(r, job);
		return;
	}
	if (job->kind == JOB_ENROLL) {
		desk_answer(r->desk, job);
		return;
	}
	s = sessions_find(r->sessions, &job->peer);
	if (s && job->kind == JOB_BATCH)
		credit_settle(&s->credit, job->weight);
	if (job->outcome != JOB_DONE)
		refuse_job(r, job, s);
	else if (job->kind == JOB_HELLO)
		welcome(r, job, s);
	else
		acknowledge(r, job, s);
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

/* Their addresses are not told: there may be any number. */
static void note_shown_out(struct receiver *r, struct router *router, const char *port)
{
	uint64_t n = router_shown_out(router);

	if (n == 0)
		return;
	r->shown_out += n;
	for (; n > 0; n--)
		(void)refusals_add(r->refusals, NO_PEER, "one connection too many, shown out",
				   real_ms());
	if (log_due(&r->warn_shown_out, WARN_PERIOD_MS))
		log_warn("too many connections to the port for %s of peers that are not known: "
			 "%" PRIu64 " shown out so far",
			 port, r->shown_out);
}

static void ask_for_orders(struct receiver *r)
{
	struct order *room;

	if (r->orders_asked || r->pool.n == 0)
		return;
	room = calloc(ORDERS_MAX, sizeof(*room));
	if (room)
		r->orders_asked = push_list(r, JOB_ORDERS, room, 0);
}

/* Handshakes that failed for their key: of them no message ever came. */
static void note_sent_away(struct receiver *r)
{
	static const char why[] = "its key is not admitted";
	struct sent_away away[GATE_SENT_AWAY_MAX];
	size_t n = gate_sent_away(r->gate, away);

	for (size_t i = 0; i < n; i++) {
		const char *peer = away[i].address[0] ? away[i].address : REFUSALS_OTHERS;
		uint64_t said = 0;

		for (uint64_t k = 0; k < away[i].n; k++)
			said += refusals_add(r->refusals, peer, why, real_ms());
		if (said)
			log_warn("sent away %s: %s", peer, why);
	}
}

/* Returns false while there are refusals that the writer has not been given. */
static bool hand_over_lists(struct receiver *r)
{
	struct seen_host *seen;
	struct refusal *refusals;
	int n;

	note_shown_out(r, r->router, "records");
	note_sent_away(r);
	note_shown_out(r, desk_router(r->desk), "enrolment");
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

/*
 * The pool is shared anew when peers come and go. The credit goes out on its own
 * only when it has changed much; a peer that cannot be told is told next time.
 */
static void renew_credit(struct session *s, void *arg)
{
	struct receiver *r = arg;
	uint64_t now_ns = clock_mono_ns();
	struct packed frame;

	if (!s->welcomed || !credit_tick(&r->pool, &s->credit, now_ns))
		return;
	if (ack_pack(&(struct ack){.credit_bytes = credit_offer(&r->pool, &s->credit, now_ns)},
		     &frame) == 0)
		(void)router_send(r->router, &s->peer, &frame);
}

static void tick(struct receiver *r)
{
	uint64_t now = clock_mono_ns();

	if (now < r->tick_ns)
		return;
	r->tick_ns = now + TICK_MS * NS_PER_MS;
	if (!gate_answers(r->gate) && log_due(&r->warn_gate, WARN_PERIOD_MS))
		log_error("the guard that checks keys does not answer: nobody can connect until "
			  "this collector is restarted");
	if (now > r->silent_ns)
		sessions_expire(r->sessions, now - r->silent_ns, say_silent);
	sessions_each(r->sessions, renew_credit, r);
	ask_for_orders(r);
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
		{.socket = router_socket(desk_router(r->desk)), .events = ZMQ_POLLIN},
		{.socket = router_porch_socket(r->router), .events = ZMQ_POLLIN},
		{.socket = router_porch_socket(desk_router(r->desk)), .events = ZMQ_POLLIN},
	};
	int err = 0;

	if (zmq_poll(items, 6, TICK_MS) < 0)
		return zmq_errno() == EINTR ? 0 : -zmq_errno();
	answer_replies(r);
	if (items[4].revents)
		router_watch(r->router);
	if (items[5].revents)
		router_watch(desk_router(r->desk));
	if (items[1].revents)
		err = receive_burst(r);
	if (!err && items[3].revents)
		err = desk_receive(r->desk, BURST);
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
