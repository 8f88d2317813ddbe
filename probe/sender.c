// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/sender.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <zmq.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "probe/link.h"
#include "probe/outbox.h"
#include "proto/message.h"

#define BACKOFF_MIN_NS	 (100 * NS_PER_MS)
#define BACKOFF_MAX_NS	 (10 * NS_PER_SEC)
#define HEARTBEAT_MIN_NS (100 * NS_PER_MS)
#define HEARTBEAT_MAX_NS NS_PER_SEC /* three chances within SENDER_SILENCE_NS */
/* Pause after a refusal: refusals of what was sent behind it come in and go by. */
#define HOLD_MIN_NS	(50 * NS_PER_MS)
#define HOLD_DEFAULT_NS NS_PER_SEC
#define WARN_PERIOD_MS	30000

enum link_state {
	LINK_DOWN,     /* no socket; a new one at retry_ns() */
	LINK_GREETING, /* HELLO is on its way */
	LINK_UP,       /* welcomed */
};

struct sender {
	const char *url;
	const struct hello *hello;
	struct outbox *outbox;
	void *zmq;
	pthread_t thread;
	int stop_fd;
	_Atomic uint64_t deadline_ns; /* 0: run on */
	_Atomic uint64_t connects, bad_frames;

	/* The rest is the thread's alone. */
	struct link *link; /* NULL in LINK_DOWN only */
	enum link_state state;
	uint64_t now_ns;
	uint64_t down_ns;  /* when the last link was given up */
	uint64_t pause_ns; /* before the next one: grows with every failure */
	uint64_t asked_ns; /* of the oldest HELLO or PING without an answer, 0: none */
	uint64_t ping_ns;  /* when the next PING is due */
	uint64_t heartbeat_ns;
	uint64_t hold_ns; /* no batch before */
	uint64_t credit_bytes;
	uint64_t warn_down, warn_refused, warn_bad; /* log_due() */
};

static uint64_t clamp(uint64_t v, uint64_t min, uint64_t max)
{
	return v < min ? min : v > max ? max : v;
}

/* --- the connection ----------------------------------------------------------- */

static void drop_link(struct sender *s, const char *why)
{
	struct outbox_stats left;

	outbox_stats(s->outbox, &left);
	if (log_due(&s->warn_down, WARN_PERIOD_MS))
		log_warn("collector %s: %s; keeping %" PRIu64 " batches (%" PRIu64
			 " bytes) and trying again",
			 s->url, why, left.batches, left.bytes);
	link_close(take_ptr(s->link));
	s->state = LINK_DOWN;
	s->asked_ns = 0;
	s->down_ns = s->now_ns;
	s->pause_ns = clamp(s->pause_ns * 2, BACKOFF_MIN_NS, BACKOFF_MAX_NS);
}

static uint64_t retry_ns(const struct sender *s)
{
	return s->down_ns + (s->deadline_ns ? BACKOFF_MIN_NS : s->pause_ns);
}

static int send_packed(struct sender *s, struct packed *frame)
{
	int err = link_send(s->link, frame->data, frame->len);

	free(take_ptr(frame->data));
	return err;
}

/* A failure leaves the question open: the silence that follows replaces the link. */
static void greet(struct sender *s)
{
	cleanup(free_p) struct hello *h = malloc(sizeof(*h));
	struct outbox_stats left;
	struct packed frame;
	int err = -ENOMEM;

	s->state = LINK_GREETING;
	if (!s->asked_ns)
		s->asked_ns = s->now_ns;
	if (h) {
		outbox_stats(s->outbox, &left);
		*h = *s->hello;
		h->oldest_seq = outbox_oldest_seq(s->outbox);
		h->real_ns = clock_real_ns();
		h->mono_ns = clock_mono_ns();
		h->backlog_batches = left.batches;
		h->backlog_bytes = left.bytes;
		err = hello_pack(h, &frame);
	}
	if (!err)
		err = send_packed(s, &frame);
	if (err)
		log_debug("cannot say hello: %s", link_error(err));
}

static void connect_link(struct sender *s)
{
	int err = link_open(s->zmq, s->url, &s->link);

	if (err) {
		drop_link(s, link_error(err));
		return;
	}
	greet(s);
}

static void ping(struct sender *s)
{
	struct packed frame;

	if (s->now_ns < s->ping_ns)
		return;
	s->ping_ns = s->now_ns + s->heartbeat_ns;
	if (!s->asked_ns)
		s->asked_ns = s->now_ns;
	if (ping_pack(FRAME_PING, s->now_ns, &frame) == 0)
		(void)send_packed(s, &frame); /* no answer to it tells as much */
}

static void send_batches(struct sender *s)
{
	struct outbox_frame batch;

	if (s->now_ns < s->hold_ns)
		return;
	while (link_writable(s->link) && outbox_next(s->outbox, s->credit_bytes, &batch) == 0) {
		if (link_send(s->link, batch.data, batch.len) != 0) {
			outbox_rewind(s->outbox);
			return;
		}
	}
}

/* --- what the collector says ---------------------------------------------------- */

/* It does more than greet: the next loss is news again and needs no long pause. */
static void trust(struct sender *s)
{
	s->pause_ns = 0;
	s->warn_down = 0;
}

static int on_welcome(struct sender *s, const struct frame *f, const char **ret_why)
{
	struct welcome w;
	int err = welcome_unpack(f->body, f->body_len, &w, ret_why);

	if (err)
		return err;
	if (w.epoch != s->hello->epoch)
		return 0; /* for the probe that was here before */
	if (s->state != LINK_UP) {
		s->connects++;
		log_info("collector %s: connected, protocol %u.%u, has all batches up to %" PRIu64,
			 s->url, w.version_major, w.version_minor, w.last_seq);
	}
	s->state = LINK_UP;
	s->hold_ns = 0;
	s->credit_bytes = w.credit_bytes;
	s->heartbeat_ns = clamp(w.heartbeat_ms * NS_PER_MS, HEARTBEAT_MIN_NS, HEARTBEAT_MAX_NS);
	s->ping_ns = s->now_ns + s->heartbeat_ns;
	outbox_ack(s->outbox, w.last_seq);
	outbox_rewind(s->outbox);
	return 0;
}

static int on_ack(struct sender *s, const struct frame *f, const char **ret_why)
{
	struct ack a;
	int err = ack_unpack(f->body, f->body_len, &a, ret_why);

	if (err)
		return err;
	if (a.epoch != s->hello->epoch)
		return 0;
	trust(s);
	outbox_ack(s->outbox, a.up_to_seq);
	s->credit_bytes = a.credit_bytes;
	return 0;
}

static void hold(struct sender *s, uint64_t retry_after_ms, uint64_t fallback_ns)
{
	uint64_t pause_ns = retry_after_ms ? retry_after_ms * NS_PER_MS : fallback_ns;

	s->hold_ns = s->now_ns + clamp(pause_ns, HOLD_MIN_NS, BACKOFF_MAX_NS);
	outbox_rewind(s->outbox);
}

static void on_permanent(struct sender *s, const struct nack *n)
{
	if (outbox_refuse(s->outbox, n->seq) == 0)
		log_warn("collector %s: will never take batch %" PRIu64
			 " (%s), counting it as lost",
			 s->url, n->seq, n->text);
	else
		drop_link(s, n->text); /* not a batch: it refuses us */
}

static void on_gap(struct sender *s, const struct nack *n)
{
	outbox_ack(s->outbox, n->last_seq);
	hold(s, n->retry_after_ms, HOLD_MIN_NS);
	if (outbox_oldest_seq(s->outbox) > n->last_seq + 1)
		greet(s); /* it waits for what we no longer have: HELLO names our oldest */
}

static int on_nack(struct sender *s, const struct frame *f, const char **ret_why)
{
	struct nack n;
	int err = nack_unpack(f->body, f->body_len, &n, ret_why);

	if (err)
		return err;
	if (n.epoch && n.epoch != s->hello->epoch)
		return 0;
	switch (n.code) {
	case NACK_MALFORMED:
	case NACK_TOO_BIG:
		on_permanent(s, &n);
		break;
	case NACK_UNSUPPORTED:
		drop_link(s, "it speaks another protocol version");
		s->pause_ns = BACKOFF_MAX_NS;
		break;
	case NACK_GAP:
		on_gap(s, &n);
		break;
	case NACK_NO_HELLO:
		hold(s, n.retry_after_ms, HOLD_MIN_NS);
		greet(s);
		break;
	default:
		hold(s, n.retry_after_ms, HOLD_DEFAULT_NS);
		if (log_due(&s->warn_refused, WARN_PERIOD_MS))
			log_warn("collector %s: cannot take batches now (%s), keeping them", s->url,
				 n.text);
		break;
	}
	return 0;
}

static int on_frame(struct sender *s, const struct frame *f, const char **ret_why)
{
	struct packed pong;
	uint64_t nonce;
	int err;

	switch (f->type) {
	case FRAME_WELCOME:
		return on_welcome(s, f, ret_why);
	case FRAME_ACK:
		return on_ack(s, f, ret_why);
	case FRAME_NACK:
		return on_nack(s, f, ret_why);
	case FRAME_PONG:
		trust(s);
		return ping_unpack(f->body, f->body_len, &nonce, ret_why);
	case FRAME_PING:
		err = ping_unpack(f->body, f->body_len, &nonce, ret_why);
		if (!err && ping_pack(FRAME_PONG, nonce, &pong) == 0)
			(void)send_packed(s, &pong); /* it asks again */
		return err;
	default:
		log_debug("collector %s: ignoring a %s", s->url, frame_type_name(f->type));
		return 0;
	}
}

static void receive(struct sender *s)
{
	const char *why = "";
	struct frame f;
	int err;

	while (s->link) {
		err = link_recv(s->link, &f, &why);
		if (err && err != -EBADMSG)
			return;
		if (!err) {
			s->asked_ns = 0;
			err = on_frame(s, &f, &why);
		}
		if (!err)
			continue;
		s->bad_frames++;
		if (log_due(&s->warn_bad, WARN_PERIOD_MS))
			log_warn("collector %s: sent something unreadable (%s), ignoring it",
				 s->url, why);
	}
}

/* --- the thread ------------------------------------------------------------------ */

static bool finished(struct sender *s)
{
	uint64_t deadline_ns = s->deadline_ns;
	struct outbox_stats left;

	if (!deadline_ns)
		return false;
	outbox_stats(s->outbox, &left);
	return left.batches == 0 || s->now_ns >= deadline_ns;
}

/* Until something is due by the clock. */
static int timeout_ms(const struct sender *s)
{
	uint64_t until = s->now_ns + HEARTBEAT_MAX_NS, deadline_ns = s->deadline_ns;

	if (s->state == LINK_DOWN && retry_ns(s) < until)
		until = retry_ns(s);
	if (s->asked_ns && s->asked_ns + SENDER_SILENCE_NS < until)
		until = s->asked_ns + SENDER_SILENCE_NS;
	if (s->state == LINK_UP && s->ping_ns < until)
		until = s->ping_ns;
	if (s->state == LINK_UP && s->hold_ns > s->now_ns && s->hold_ns < until)
		until = s->hold_ns;
	if (deadline_ns && deadline_ns < until)
		until = deadline_ns;
	return until > s->now_ns ? (int)((until - s->now_ns) / NS_PER_MS) + 1 : 0;
}

static void wait_for_news(struct sender *s)
{
	int fds[] = {outbox_fd(s->outbox), s->stop_fd};
	bool blocked = s->state == LINK_UP && !link_writable(s->link);
	uint64_t count;
	int err;

	err = link_wait(s->link, blocked, fds, 2, timeout_ms(s));
	if (err)
		log_debug("waiting: %s", link_error(err));
	for (size_t i = 0; i < 2; i++)
		(void)!read(fds[i], &count, sizeof(count)); /* EAGAIN: it was not this one */
}

static void *run(void *arg)
{
	struct sender *s = arg;

	s->now_ns = clock_mono_ns();
	while (!finished(s)) {
		if (s->state == LINK_DOWN && s->now_ns >= retry_ns(s))
			connect_link(s);
		receive(s);
		if (s->asked_ns && s->now_ns - s->asked_ns >= SENDER_SILENCE_NS)
			drop_link(s, s->state == LINK_UP ? "no longer answers" : "no answer");
		if (s->state == LINK_UP) {
			ping(s);
			send_batches(s);
		}
		wait_for_news(s);
		s->now_ns = clock_mono_ns();
	}
	link_close(take_ptr(s->link));
	return NULL;
}

static void release(struct sender *s)
{
	if (s->zmq)
		(void)zmq_ctx_term(s->zmq); /* its sockets are closed: does not wait */
	if (s->stop_fd >= 0)
		close(s->stop_fd);
	free(s);
}

int sender_start(const char *url, const struct hello *hello, struct outbox *outbox,
		 struct sender **ret)
{
	struct sender *s = calloc(1, sizeof(*s));
	int err = 0;

	if (!s)
		return -ENOMEM;
	s->url = url;
	s->hello = hello;
	s->outbox = outbox;
	s->heartbeat_ns = HEARTBEAT_MAX_NS;
	s->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	s->zmq = zmq_ctx_new();
	if (s->stop_fd < 0 || !s->zmq)
		err = -errno;
	if (!err)
		err = -pthread_create(&s->thread, NULL, run, s);
	if (err) {
		release(s);
		return err;
	}
	*ret = s;
	return 0;
}

void sender_stats(const struct sender *s, struct sender_stats *ret)
{
	ret->connects = s->connects;
	ret->bad_frames = s->bad_frames;
}

void sender_stop(struct sender *s, uint64_t wait_ms)
{
	uint64_t one = 1;

	if (!s)
		return;
	s->deadline_ns = clock_mono_ns() + wait_ms * NS_PER_MS;
	(void)!write(s->stop_fd, &one, sizeof(one)); /* cannot be full */
	(void)pthread_join(s->thread, NULL);	     /* fails only for a thread that is not ours */
	release(s);
}
