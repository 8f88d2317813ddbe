/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * intake.h - checks what the peers say and hands the writer what is right.
 *
 * A message that is not right is refused: counted by peer and reason (table
 * refusal), named in a rate-limited warning, and answered with a NACK that
 * names the batch if it says which one it is. Only a peer that floods us gets
 * no answer, but is counted all the same.
 * Threads: the receiver's only.
 */
#ifndef WEIR_COLLECTOR_SERVE_INTAKE_H
#define WEIR_COLLECTOR_SERVE_INTAKE_H

#include <stdint.h>

#include "collector/serve/answers.h"
#include "collector/serve/credit.h"

struct batch;
struct queue;
struct refusals;
struct router_message;

struct intake {
	struct answers answers;
	struct queue *jobs; /* borrowed, like all the others */
	struct refusals *refusals;
	struct sessions *sessions;
	struct credit_pool *pool;
	struct credit strangers; /* the rate of all who have no session */
};

/* Why a message is refused, and what its sender is told. */
struct reason {
	const char *text;
	enum nack_code code;
	uint32_t retry_after_ms;
};

/* What it is that is refused; 0: not known. */
struct refused {
	uint64_t epoch, seq;
};

/* One message, of anyone. */
void intake_message(struct intake *in, const struct router_message *m);

/* Counts, names and answers a message that is not taken. s may be NULL. */
void intake_refuse(struct intake *in, const struct router_message *m, const struct session *s,
		   const struct refused *what, const struct reason *why);

#endif /* WEIR_COLLECTOR_SERVE_INTAKE_H */
