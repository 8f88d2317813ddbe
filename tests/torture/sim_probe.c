// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/torture/sim_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/clock.h"
#include "proto/frame.h"
#include "tests/torture/sim_batch.h"

#define SILENCE_NS (3 * NS_PER_SEC)
#define PING_NS	   NS_PER_SEC
#define PING_TURNS 16
#define HOLD_NS	   (200 * NS_PER_MS)
#define REPLAYS	   4 /* after the first time */

static void open_socket(struct sim_probe *p)
{
	static const struct {
		int option, value;
	} options[] = {{ZMQ_LINGER, 0}, {ZMQ_SNDHWM, 16}, {ZMQ_RCVHWM, 64}, {ZMQ_IPV6, 1}};
	const struct sim_settings *s = p->settings;

	p->socket = zmq_socket(s->zmq, ZMQ_DEALER);
	if (!p->socket) {
		fprintf(stderr, "no socket: %s\n", zmq_strerror(zmq_errno()));
		exit(1);
	}
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		(void)zmq_setsockopt(p->socket, options[i].option, &options[i].value, sizeof(int));
	if (s->server_key) {
		(void)zmq_setsockopt(p->socket, ZMQ_CURVE_SERVERKEY, s->server_key, SIM_KEY_TEXT);
		(void)zmq_setsockopt(p->socket, ZMQ_CURVE_PUBLICKEY, p->public_key, SIM_KEY_TEXT);
		(void)zmq_setsockopt(p->socket, ZMQ_CURVE_SECRETKEY, p->secret_key, SIM_KEY_TEXT);
	}
	if (zmq_connect(p->socket, s->endpoint) != 0) {
		fprintf(stderr, "%s: %s\n", s->endpoint, zmq_strerror(zmq_errno()));
		exit(1);
	}
	p->connects++;
}

static void close_socket(struct sim_probe *p)
{
	if (p->socket)
		(void)zmq_close(p->socket);
	p->socket = NULL;
	p->up = false;
	p->asked_ns = 0;
}

void sim_probe_init(struct sim_probe *p, const struct sim_settings *settings, unsigned number)
{
	p->settings = settings;
	p->number = number;
	p->next_seq = 1;
	(void)snprintf(p->name, sizeof(p->name), "sim%04u", number);
}

void sim_probe_done(struct sim_probe *p)
{
	close_socket(p);
}

/* Takes frame->data. */
static bool send_packed(struct sim_probe *p, int err, struct packed *frame)
{
	bool sent = !err && zmq_send(p->socket, frame->data, frame->len, ZMQ_DONTWAIT) >= 0;

	if (!err)
		free(frame->data);
	return sent;
}

static void greet(struct sim_probe *p, uint64_t now_ns)
{
	struct hello h = {
		.version_major = PROTO_VERSION_MAJOR,
		.version_minor = PROTO_VERSION_MINOR,
		.epoch = p->epoch,
		.run = p->epoch,
		.oldest_seq = p->acked_seq + 1,
		.build = "weir-bench",
		.kernel = "none",
		.real_ns = clock_real_ns(),
		.mono_ns = now_ns,
	};
	struct packed frame;
	int err;

	memcpy(h.probe_id, p->settings->conduct == SIM_SPOOF ? p->settings->victim_id : p->probe_id,
	       sizeof(h.probe_id));
	memcpy(h.host_name, p->name, sizeof(p->name));
	err = hello_pack(&h, &frame);
	if (send_packed(p, err, &frame) && !p->asked_ns)
		p->asked_ns = now_ns;
}

static void rewind_to(struct sim_probe *p, uint64_t acked_seq)
{
	if (acked_seq > p->acked_seq)
		p->acked_seq = acked_seq;
	p->next_seq = p->acked_seq + 1;
}

static void on_welcome(struct sim_probe *p, const struct frame *f)
{
	struct welcome w;

	if (welcome_unpack(f->body, f->body_len, &w, NULL) != 0 || w.epoch != p->epoch)
		return;
	p->welcomes++;
	p->up = true;
	p->credit_bytes = w.credit_bytes;
	rewind_to(p, w.last_seq);
}

static void note_acks(struct sim_probe *p, uint64_t up_to, uint64_t now_ns)
{
	const struct sim_settings *s = p->settings;

	for (uint64_t seq = p->acked_seq + 1; seq <= up_to; seq++) {
		if (now_ns < s->measure_ns || now_ns >= s->deadline_ns)
			continue;
		p->acked_measured++;
		delays_add(s->delays, (now_ns - p->sent_ns[seq % SIM_WINDOW_MAX]) / NS_PER_US);
	}
}

static void on_ack(struct sim_probe *p, const struct frame *f, uint64_t now_ns)
{
	struct ack a;

	if (ack_unpack(f->body, f->body_len, &a, NULL) != 0)
		return;
	if (a.epoch == p->epoch && a.up_to_seq > p->acked_seq) {
		note_acks(p, a.up_to_seq, now_ns);
		p->acked_seq = a.up_to_seq;
		p->last_ack_real_ns = clock_real_ns();
		if (p->next_seq <= p->acked_seq)
			p->next_seq = p->acked_seq + 1;
	}
	if (a.epoch == p->epoch || a.epoch == 0)
		p->credit_bytes = a.credit_bytes;
}

static void on_nack(struct sim_probe *p, const struct frame *f, uint64_t now_ns)
{
	struct nack n;

	if (nack_unpack(f->body, f->body_len, &n, NULL) != 0)
		return;
	p->nacks[(unsigned)n.code < SIM_NACK_CODES ? n.code : 0]++;
	p->hold_ns = now_ns + (n.retry_after_ms ? n.retry_after_ms * NS_PER_MS : HOLD_NS);
	rewind_to(p, n.code == NACK_GAP ? n.last_seq : 0);
	if (n.code == NACK_NO_HELLO)
		greet(p, now_ns);
}

static void on_frame(struct sim_probe *p, const struct frame *f, uint64_t now_ns)
{
	struct packed pong;
	uint64_t nonce;
	int err;

	switch (f->type) {
	case FRAME_WELCOME:
		on_welcome(p, f);
		break;
	case FRAME_ACK:
		on_ack(p, f, now_ns);
		break;
	case FRAME_NACK:
		on_nack(p, f, now_ns);
		break;
	case FRAME_PING:
		if (ping_unpack(f->body, f->body_len, &nonce, NULL) == 0) {
			err = ping_pack(FRAME_PONG, nonce, &pong);
			(void)send_packed(p, err, &pong); /* it asks again */
		}
		break;
	default:
		break;
	}
}

static void receive(struct sim_probe *p, uint64_t now_ns)
{
	zmq_msg_t message;
	struct frame f;

	(void)zmq_msg_init(&message); /* always 0 */
	while (zmq_msg_recv(&message, p->socket, ZMQ_DONTWAIT) >= 0) {
		p->asked_ns = 0;
		if (frame_open(zmq_msg_data(&message), zmq_msg_size(&message), &f) == FRAME_OK)
			on_frame(p, &f, now_ns);
	}
	(void)zmq_msg_close(&message); /* fails for what is no message */
}

static bool may_send(const struct sim_probe *p, uint64_t now_ns)
{
	const struct sim_settings *s = p->settings;
	uint64_t waiting = p->next_seq - 1 - p->acked_seq;
	uint64_t cost = credit_cost(p->batch_bytes);

	if (!p->up || now_ns < p->hold_ns || waiting >= s->window)
		return false;
	if (now_ns >= s->deadline_ns && p->next_seq > p->highest_seq)
		return false; /* only what was sent before, again */
	if (s->batches_per_s > 0 && now_ns < p->due_ns && p->next_seq > p->highest_seq)
		return false;
	return waiting == 0 ? p->credit_bytes > 0 : (waiting + 1) * cost <= p->credit_bytes;
}

static void count_sent(struct sim_probe *p, uint64_t now_ns)
{
	const struct sim_settings *s = p->settings;

	if (p->next_seq > p->highest_seq) {
		p->highest_seq = p->next_seq;
		p->sent_ns[p->next_seq % SIM_WINDOW_MAX] = now_ns;
		if (s->batches_per_s > 0)
			p->due_ns += (uint64_t)((double)NS_PER_SEC / s->batches_per_s);
		if (p->due_ns + NS_PER_SEC < now_ns)
			p->due_ns = now_ns; /* what could not be sent is not made up for */
	} else {
		p->resent++;
	}
	p->sent++;
	p->next_seq++;
	if (!p->asked_ns)
		p->asked_ns = now_ns;
}

static bool send_batch(struct sim_probe *p, uint64_t now_ns)
{
	const struct sim_settings *s = p->settings;
	const struct sim_stamp stamp = {
		.probe_id = s->conduct == SIM_FOREIGN ? s->victim_id : p->probe_id,
		.epoch = p->epoch,
		.seq = p->next_seq,
		.number = p->number,
		.real_ns = clock_real_ns(),
	};
	struct packed frame = sim_batch_stamp(s->batch, &stamp);

	p->batch_bytes = frame.len;
	if (zmq_send(p->socket, frame.data, frame.len, ZMQ_DONTWAIT) < 0)
		return false;
	count_sent(p, now_ns);
	for (int i = 0; s->conduct == SIM_REPLAY && i < REPLAYS; i++)
		(void)zmq_send(p->socket, frame.data, frame.len, ZMQ_DONTWAIT); /* or not */
	return true;
}

static void ping(struct sim_probe *p, uint64_t now_ns)
{
	struct packed frame;
	int err;

	if (now_ns < p->ping_ns)
		return;
	p->ping_ns = now_ns + PING_NS;
	err = ping_pack(FRAME_PING, now_ns, &frame);
	if (send_packed(p, err, &frame) && !p->asked_ns)
		p->asked_ns = now_ns;
}

void sim_probe_step(struct sim_probe *p, uint64_t now_ns)
{
	if (p->asked_ns && now_ns - p->asked_ns >= SILENCE_NS)
		close_socket(p);
	if (!p->socket) {
		open_socket(p);
		greet(p, now_ns);
		/* Not all at once: one of them soon finds a collector that was started again. */
		p->ping_ns = now_ns + PING_NS * (p->number % PING_TURNS + 1) / PING_TURNS;
		return;
	}
	receive(p, now_ns);
	ping(p, now_ns);
	while (may_send(p, now_ns) && send_batch(p, now_ns))
		;
}

bool sim_probe_settled(const struct sim_probe *p)
{
	return p->acked_seq >= p->highest_seq;
}
