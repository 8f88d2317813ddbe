// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/uplink/sender.h"

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
#include "common/failpoint.h"
#include "common/log.h"
#include "probe/datapath/own_addrs.h"
#include "probe/spool/spool.h"
#include "probe/uplink/keyring.h"
#include "probe/uplink/lanes.h"
#include "probe/uplink/link.h"
#include "probe/uplink/orders.h"
#include "probe/uplink/route.h"
#include "proto/message.h"

#define BACKOFF_MIN_NS	 (100 * NS_PER_MS)
#define BACKOFF_MAX_NS	 (10 * NS_PER_SEC)
#define HEARTBEAT_MIN_NS (100 * NS_PER_MS)
#define HEARTBEAT_MAX_NS NS_PER_SEC /* three chances within SENDER_SILENCE_NS */
/* Pause after a refusal: refusals of what was sent behind it come in and go by. */
#define HOLD_MIN_NS	(50 * NS_PER_MS)
#define HOLD_DEFAULT_NS NS_PER_SEC
#define NOT_ADMITTED_NS NS_PER_SEC /* with a new key it may be, soon */
#define SCOUT_POLL_NS	(100 * NS_PER_MS)
#define WARN_PERIOD_MS	30000

/*
 * The live epoch gets past its own queue when that has become a backlog: the
 * exporter begins another one. Not too often: each is one more to greet.
 */
#define LIVE_MAX_BATCHES    256
#define NEW_EPOCH_PERIOD_NS (30 * NS_PER_SEC)

enum link_state {
	LINK_DOWN,     /* no socket; a new one at retry_ns() */
	LINK_GREETING, /* HELLO is on its way */
	LINK_UP,       /* welcomed */
};

struct sender {
	const struct hello *hello;
	struct spool *spool;
	void *zmq;
	pthread_t thread;
	int stop_fd;
	_Atomic uint64_t deadline_ns; /* 0: run on */
	_Atomic uint64_t connects, bad_frames, addrs_untold;

	/* The rest is the thread's alone. */
	struct route route;
	struct link *link; /* NULL in LINK_DOWN only */
	enum link_state state;
	struct lanes lanes;
	uint64_t silence_ns;
	uint64_t now_ns;
	uint64_t down_ns;  /* when the last link was given up */
	uint64_t pause_ns; /* before the next one */
	uint64_t round_ns; /* the same after all were tried: grows with every round */
	uint64_t asked_ns; /* of the oldest HELLO or PING without an answer, 0: none */
	uint64_t ping_ns;  /* when the next PING is due */
	uint64_t heartbeat_ns;
	uint64_t credit_bytes;
	uint64_t leaving_ns;	 /* since when nothing is sent, for a better collector; 0: no */
	uint64_t epoch_asked_ns; /* when a new epoch was last asked for */
	int (*read_addrs)(struct own_addrs *ret);
	struct own_addrs addrs;			    /* as last read */
	uint64_t addrs_ns, look_ns;		    /* how often; when next */
	uint64_t warn_down, warn_refused, warn_bad; /* log_due() */
};

static uint64_t clamp(uint64_t v, uint64_t min, uint64_t max)
{
	return v < min ? min : v > max ? max : v;
}

/* --- the connection ----------------------------------------------------------- */

static void leave_link(struct sender *s)
{
	link_close(take_ptr(s->link));
	s->state = LINK_DOWN;
	s->lanes = (struct lanes){0};
	lanes_rewind(s->spool, 0);
	s->asked_ns = 0;
	s->leaving_ns = 0;
	s->down_ns = s->now_ns;
}

/* The pause is after all have been tried. */
static void drop_link(struct sender *s, const char *why)
{
	struct spool_stats left;

	spool_stats(s->spool, &left);
	if (log_due(&s->warn_down, WARN_PERIOD_MS))
		log_warn("collector %s: %s; keeping %" PRIu64 " batches (%" PRIu64
			 " bytes) and trying %s",
			 route_url(&s->route), why, left.batches, left.bytes,
			 s->route.n > 1 ? "the next one" : "again");
	leave_link(s);
	if (route_next(&s->route))
		s->round_ns = clamp(s->round_ns * 2, BACKOFF_MIN_NS, BACKOFF_MAX_NS);
	s->pause_ns = s->route.at == 0 ? s->round_ns : BACKOFF_MIN_NS;
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
static void greet(struct sender *s, struct lane *lane)
{
	cleanup(free_p) struct hello *h = malloc(sizeof(*h));
	struct packed frame;
	int err = -ENOMEM;

	lane->welcomed = false;
	lane->hello_ns = s->now_ns;
	if (!s->asked_ns)
		s->asked_ns = s->now_ns;
	if (h) {
		lanes_hello(lane, s->spool, s->hello, h);
		h->elsewhere = s->route.n > 1;
		h->n_addrs = s->addrs.n;
		memcpy(h->addrs, s->addrs.addrs, sizeof(h->addrs));
		err = hello_pack(h, &frame);
	}
	if (!err)
		err = send_packed(s, &frame);
	if (err)
		log_debug("cannot say hello: %s", link_error(err));
}

static void connect_link(struct sender *s)
{
	char why[KEYRING_WHY_BYTES];

	if (route_connect(&s->route, &s->link, why) != 0)
		drop_link(s, why);
	else
		s->state = LINK_GREETING;
}

/*
 * A collector before this one is there again. What is on its way here is waited
 * for first, so that no batch is in two databases.
 */
static void return_to_better(struct sender *s)
{
	if (!s->leaving_ns && !route_scout(&s->route, s->now_ns))
		return;
	if (!s->leaving_ns)
		s->leaving_ns = s->now_ns;
	if (spool_in_flight(s->spool) > 0 && s->now_ns - s->leaving_ns < s->silence_ns)
		return;
	leave_link(s);
	route_return(&s->route);
	s->pause_ns = 0;
	log_info("collector %s: answers again, going back to it", route_url(&s->route));
}

/* --- lanes ------------------------------------------------------------------------ */

/* A live epoch that has become a backlog is followed by another one. */
static void assign_lanes(struct sender *s)
{
	uint64_t waiting = lanes_assign(&s->lanes, s->spool, s->hello);

	if (s->lanes.lane[LIVE].welcomed && waiting > LIVE_MAX_BATCHES &&
	    s->now_ns - s->epoch_asked_ns >= NEW_EPOCH_PERIOD_NS) {
		s->epoch_asked_ns = s->now_ns;
		spool_ask_epoch(s->spool);
	}
}

static void greet_lanes(struct sender *s)
{
	for (size_t i = 0; i < N_LANES; i++) {
		struct lane *lane = &s->lanes.lane[i];

		if (lane->epoch && !lane->welcomed && s->now_ns >= lane->hold_ns &&
		    (!lane->hello_ns || s->now_ns - lane->hello_ns >= s->silence_ns))
			greet(s, lane);
	}
}

/* The collector hears of a change by a HELLO of the live lane. */
static void look_at_addrs(struct sender *s)
{
	struct own_addrs now;
	bool changed;

	if (!s->read_addrs || s->now_ns < s->look_ns)
		return;
	s->look_ns = s->now_ns + s->addrs_ns;
	if (s->read_addrs(&now) != 0)
		return; /* what was told before is the best there is */
	changed = now.n != s->addrs.n || memcmp(now.addrs, s->addrs.addrs, sizeof(now.addrs)) != 0;
	s->addrs = now;
	s->addrs_untold = now.untold;
	if (changed && s->state == LINK_UP)
		lanes_forget(&s->lanes, s->lanes.lane[LIVE].epoch);
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

static void send_lane(struct sender *s, const struct lane *lane, uint64_t credit_bytes)
{
	struct spool_frame batch;

	if (!lane->welcomed || s->now_ns < lane->hold_ns || !credit_bytes || s->leaving_ns)
		return;
	while (link_writable(s->link) &&
	       spool_next(s->spool, lane->epoch, credit_bytes, &batch) == 0) {
		FAILPOINT("send");
		if (link_send(s->link, batch.data, batch.len) != 0) {
			spool_rewind(s->spool, lane->epoch);
			return;
		}
		FAILPOINT("sent");
	}
}

/* Half of the credit is for what happens now, so that a backlog never stands in its way. */
static void send_batches(struct sender *s)
{
	send_lane(s, &s->lanes.lane[LIVE], s->credit_bytes);
	send_lane(s, &s->lanes.lane[BACKLOG], (s->credit_bytes + 1) / 2);
}

/* --- what the collector says ---------------------------------------------------- */

/* It does more than greet: the next loss is news again and needs no long pause. */
static void trust(struct sender *s)
{
	s->round_ns = 0;
	s->warn_down = 0;
}

static int on_welcome(struct sender *s, const struct frame *f, const char **ret_why)
{
	struct welcome w;
	struct lane *lane;
	int err = welcome_unpack(f->body, f->body_len, &w, ret_why);

	if (err)
		return err;
	lane = lanes_find(&s->lanes, w.epoch);
	if (!lane)
		return 0; /* for an epoch that is done, or the probe that was here before */
	if (s->state != LINK_UP) {
		s->connects++;
		log_info("collector %s: connected, protocol %u.%u, has all batches up to %" PRIu64,
			 route_url(&s->route), w.version_major, w.version_minor, w.last_seq);
		s->ping_ns = 0;
	}
	s->state = LINK_UP;
	lane->welcomed = true;
	lane->hold_ns = 0;
	s->credit_bytes = w.credit_bytes;
	s->heartbeat_ns = clamp(w.heartbeat_ms * NS_PER_MS, HEARTBEAT_MIN_NS, HEARTBEAT_MAX_NS);
	if (!s->ping_ns)
		s->ping_ns = s->now_ns + s->heartbeat_ns;
	spool_ack(s->spool, w.epoch, w.last_seq);
	spool_rewind(s->spool, w.epoch);
	return 0;
}

static int on_ack(struct sender *s, const struct frame *f, const char **ret_why)
{
	struct ack a;
	int err = ack_unpack(f->body, f->body_len, &a, ret_why);

	if (err)
		return err;
	trust(s);
	FAILPOINT("acked");
	if (a.epoch)
		spool_ack(s->spool, a.epoch, a.up_to_seq);
	FAILPOINT("ack_noted");
	s->credit_bytes = a.credit_bytes;
	return 0;
}

/* What is on its way of the epoch (0: of all) comes to nothing: again, after a pause. */
static void hold(struct sender *s, const struct nack *n, uint64_t fallback_ns)
{
	uint64_t pause_ns = n->retry_after_ms ? n->retry_after_ms * NS_PER_MS : fallback_ns;

	lanes_hold(&s->lanes, n->epoch, s->now_ns + clamp(pause_ns, HOLD_MIN_NS, BACKOFF_MAX_NS));
	lanes_rewind(s->spool, n->epoch);
}

static void on_permanent(struct sender *s, const struct nack *n)
{
	if (spool_refuse(s->spool, n->epoch, n->seq, n->text) == 0)
		log_warn("collector %s: will never take batch %" PRIu64
			 " (%s), counting it as lost",
			 route_url(&s->route), n->seq, n->text);
	else
		drop_link(s, n->text); /* not a batch: it refuses us */
}

static void on_gap(struct sender *s, const struct nack *n)
{
	struct lane *lane = lanes_find(&s->lanes, n->epoch);

	spool_ack(s->spool, n->epoch, n->last_seq);
	hold(s, n, HOLD_MIN_NS);
	if (lane && lanes_is_ahead(s->spool, n->epoch, n->last_seq))
		greet(s, lane); /* it waits for what we no longer have: HELLO names our oldest */
}

/* Of one epoch, or of us. */
static void on_no_hello(struct sender *s, const struct nack *n)
{
	lanes_forget(&s->lanes, n->epoch);
	hold(s, n, HOLD_MIN_NS);
}

/* Our key, or one epoch that is another key's. */
static void on_not_admitted(struct sender *s, const struct nack *n)
{
	if (n->epoch) {
		hold(s, n, BACKOFF_MAX_NS);
		if (log_due(&s->warn_refused, WARN_PERIOD_MS))
			log_warn(
				"collector %s: does not take batches from before this host had its "
				"key (%s), keeping them",
				route_url(&s->route), n->text);
		return;
	}
	drop_link(s, "the key of this host is not admitted");
	if (s->route.at == 0)
		s->pause_ns = NOT_ADMITTED_NS;
}

static void on_other_version(struct sender *s)
{
	drop_link(s, "it speaks another version of the protocol");
	if (s->route.at == 0)
		s->pause_ns = BACKOFF_MAX_NS;
}

/* For now; a collector that has no place for us at all is as good as none. */
static void on_temporary(struct sender *s, const struct nack *n)
{
	if (s->route.n > 1 && s->state != LINK_UP &&
	    n->retry_after_ms * NS_PER_MS > BACKOFF_MAX_NS) {
		drop_link(s, n->text);
		return;
	}
	hold(s, n, HOLD_DEFAULT_NS);
	if (log_due(&s->warn_refused, WARN_PERIOD_MS))
		log_warn("collector %s: cannot take batches now (%s), keeping them",
			 route_url(&s->route), n->text);
}

static int on_nack(struct sender *s, const struct frame *f, const char **ret_why)
{
	struct nack n;
	int err = nack_unpack(f->body, f->body_len, &n, ret_why);

	if (err)
		return err;
	switch (n.code) {
	case NACK_MALFORMED:
	case NACK_TOO_BIG:
		on_permanent(s, &n);
		break;
	case NACK_UNSUPPORTED:
		drop_link(s, "it speaks another protocol version");
		s->pause_ns = BACKOFF_MAX_NS;
		break;
	case NACK_NOT_ADMITTED:
		on_not_admitted(s, &n);
		break;
	case NACK_GAP:
		on_gap(s, &n);
		break;
	case NACK_NO_HELLO:
		on_no_hello(s, &n);
		break;
	default:
		on_temporary(s, &n);
		break;
	}
	return 0;
}

/* Without an answer it is sent again: when what is to be remembered could not be written. */
static int on_command(struct sender *s, const struct frame *f, const char **ret_why)
{
	struct command_result result;
	struct host_command c;
	struct packed frame;
	int err = host_command_unpack(f->body, f->body_len, &c, ret_why);

	if (err)
		return err;
	err = orders_obey(s->route.state_dir, route_url(&s->route), &c, clock_real_ns(), &result);
	if (err)
		log_warn("collector %s: order %" PRIu64 " cannot be noted, so it is not carried "
			 "out: %s",
			 route_url(&s->route), c.command_id, strerror(-err));
	else if (command_result_pack(&result, &frame) == 0)
		(void)send_packed(s, &frame);
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
	case FRAME_COMMAND:
		return on_command(s, f, ret_why);
	case FRAME_PONG:
		trust(s);
		return ping_unpack(f->body, f->body_len, &nonce, ret_why);
	case FRAME_PING:
		err = ping_unpack(f->body, f->body_len, &nonce, ret_why);
		if (!err && ping_pack(FRAME_PONG, nonce, &pong) == 0)
			(void)send_packed(s, &pong); /* it asks again */
		return err;
	default:
		log_debug("collector %s: ignoring a %s", route_url(&s->route),
			  frame_type_name(f->type));
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
		if (err == -EPROTONOSUPPORT) {
			on_other_version(s);
			return;
		}
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
				 route_url(&s->route), why);
	}
}

/* --- the thread ------------------------------------------------------------------ */

static bool finished(struct sender *s)
{
	uint64_t deadline_ns = s->deadline_ns;
	struct spool_stats left;

	if (!deadline_ns)
		return false;
	spool_stats(s->spool, &left);
	return left.batches == 0 || s->now_ns >= deadline_ns;
}

/* Until something is due by the clock. */
static int timeout_ms(const struct sender *s)
{
	uint64_t until = s->now_ns + HEARTBEAT_MAX_NS, deadline_ns = s->deadline_ns;

	if (s->state == LINK_DOWN && retry_ns(s) < until)
		until = retry_ns(s);
	if (s->asked_ns && s->asked_ns + s->silence_ns < until)
		until = s->asked_ns + s->silence_ns;
	if (s->state == LINK_UP && s->ping_ns < until)
		until = s->ping_ns;
	if (s->read_addrs && s->look_ns < until)
		until = s->look_ns;
	until = lanes_held_until(&s->lanes, s->now_ns, until);
	if ((route_scouting(&s->route) || s->leaving_ns) && s->now_ns + SCOUT_POLL_NS < until)
		until = s->now_ns + SCOUT_POLL_NS;
	if (deadline_ns && deadline_ns < until)
		until = deadline_ns;
	return until > s->now_ns ? (int)((until - s->now_ns) / NS_PER_MS) + 1 : 0;
}

static void wait_for_news(struct sender *s)
{
	int fds[] = {spool_fd(s->spool), s->stop_fd};
	bool blocked = s->state == LINK_UP && !link_writable(s->link);
	uint64_t count;
	int err;

	err = link_wait(s->link, blocked, fds, 2, timeout_ms(s));
	if (err)
		log_debug("waiting: %s", link_error(err));
	for (size_t i = 0; i < 2; i++)
		(void)!read(fds[i], &count, sizeof(count)); /* EAGAIN: it was not this one */
}

static const char *why_silent(struct sender *s)
{
	if (s->state == LINK_UP)
		return "no longer answers";
	return s->link && link_refused(s->link) ? "the key of this host is not admitted"
						: "no answer";
}

static void *run(void *arg)
{
	struct sender *s = arg;

	s->now_ns = clock_mono_ns();
	while (!finished(s)) {
		if (s->state == LINK_DOWN && s->now_ns >= retry_ns(s))
			connect_link(s);
		receive(s);
		look_at_addrs(s);
		if (s->asked_ns && s->now_ns - s->asked_ns >= s->silence_ns)
			drop_link(s, why_silent(s));
		if (s->link) {
			assign_lanes(s);
			greet_lanes(s);
		}
		if (s->state == LINK_UP) {
			ping(s);
			send_batches(s);
			return_to_better(s);
		}
		wait_for_news(s);
		s->now_ns = clock_mono_ns();
	}
	link_close(take_ptr(s->link));
	route_done(&s->route);
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

int sender_start(const struct sender_settings *settings, const struct hello *hello,
		 struct spool *spool, struct sender **ret)
{
	struct sender *s = calloc(1, sizeof(*s));
	int err = 0;

	if (!s)
		return -ENOMEM;
	s->hello = hello;
	s->spool = spool;
	s->heartbeat_ns = HEARTBEAT_MAX_NS;
	s->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	s->zmq = zmq_ctx_new();
	if (s->stop_fd < 0 || !s->zmq)
		err = -errno;
	s->silence_ns = settings->silence_ns ? settings->silence_ns : SENDER_SILENCE_NS;
	s->read_addrs = settings->read_addrs;
	s->addrs_ns = settings->addrs_ns ? settings->addrs_ns : SENDER_ADDRS_NS;
	route_init(&s->route, settings->urls, settings->n, settings->state_dir, s->zmq);
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
	ret->addrs_untold = s->addrs_untold;
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
