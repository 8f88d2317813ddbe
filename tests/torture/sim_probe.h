/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sim_probe.h - a probe that has no packets: it says HELLO, sends batches
 * within the credit, and knows what was acknowledged. It keeps to the protocol
 * (proto/weir.proto) as weir-probe does, unless it is told to misbehave.
 *
 * Threads: one, together with all that share its struct sim_settings.
 */
#ifndef WEIR_TESTS_TORTURE_SIM_PROBE_H
#define WEIR_TESTS_TORTURE_SIM_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/message.h"
#include "tests/torture/delays.h"

#define SIM_WINDOW_MAX 64
#define SIM_KEY_TEXT   41 /* Z85 of a CURVE key, and NUL */
#define SIM_NACK_CODES 16

struct sim_batch;

enum sim_conduct {
	SIM_HONEST,
	SIM_SPOOF,   /* says HELLO with the probe id of another */
	SIM_FOREIGN, /* sends batches of another, after a HELLO of its own */
	SIM_REPLAY,  /* sends every batch five times */
};

struct sim_settings {
	void *zmq;
	const char *endpoint;
	const char *server_key; /* Z85, or NULL: no CURVE */
	struct sim_batch *batch;
	unsigned rows, window; /* batches that may wait for an answer, at most SIM_WINDOW_MAX */
	double batches_per_s;  /* of each; 0: all that the credit allows */
	uint64_t deadline_ns;  /* CLOCK_MONOTONIC: nothing new is sent from then on */
	uint64_t measure_ns;   /* acknowledgements before it are not measured */
	enum sim_conduct conduct;
	const uint8_t *victim_id; /* SPOOF, FOREIGN */
	struct delays *delays;
};

struct sim_probe {
	const struct sim_settings *settings;
	void *socket;
	unsigned number;
	char name[32], public_key[SIM_KEY_TEXT], secret_key[SIM_KEY_TEXT];
	uint8_t probe_id[PROBE_ID_BYTES];
	uint64_t epoch;
	bool up;				   /* welcomed */
	uint64_t next_seq, acked_seq, highest_seq; /* to send; committed; ever sent */
	uint64_t credit_bytes, batch_bytes;
	uint64_t hold_ns, asked_ns, ping_ns, due_ns; /* no batch before; of a question; next ones */
	uint64_t sent_ns[SIM_WINDOW_MAX];	     /* of batch seq, at seq modulo */
	/* The account: */
	uint64_t sent, resent, acked_measured, connects, welcomes;
	uint64_t nacks[SIM_NACK_CODES];
	uint64_t last_ack_real_ns;
};

/* Fills p: a name, and an epoch and keys of its own. probe_id is what the caller set. */
void sim_probe_init(struct sim_probe *p, const struct sim_settings *settings, unsigned number);
void sim_probe_done(struct sim_probe *p);

/* Takes what has come, sends what may go. */
void sim_probe_step(struct sim_probe *p, uint64_t now_ns);

/* All that was sent is answered for. */
bool sim_probe_settled(const struct sim_probe *p);

#endif /* WEIR_TESTS_TORTURE_SIM_PROBE_H */
