/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * gate.h - the ZeroMQ context of the collector and its guard: the thread that
 * answers ZAP (rfc.zeromq.org/spec/27), so decides at each CURVE handshake
 * whether the key may come in.
 *
 *	GATE_DATA    keys of the allow-list
 *	GATE_ENROLL  every key: they may only ask to be admitted
 *
 * The User-Id of a connection is the Z85 text of its key: the one thing about a
 * peer that it cannot choose. libzmq lets everybody in when nobody answers ZAP;
 * gate_guard() sets what makes it refuse instead, and checks that it is set. So
 * a guard that is dead or hangs keeps everybody out; gate_answers() tells.
 *
 * Threads: gate_answers() from any, the rest from one.
 */
#ifndef WEIR_COLLECTOR_ACCESS_GATE_H
#define WEIR_COLLECTOR_ACCESS_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/key.h"

struct allow_list;
struct gate;

enum gate_domain { GATE_DATA, GATE_ENROLL };

/*
 * Starts the guard. key: of this collector, copied; allow: borrowed until
 * gate_close(). Returns -errno; -ENOTSUP: libzmq has no CURVE.
 */
int gate_open(const struct key_pair *key, struct allow_list *allow, struct gate **ret);

/* Waits for all sockets of the context to be closed. NULL is a no-op. */
void gate_close(struct gate *g);

void *gate_context(struct gate *g);

/*
 * Makes a socket that is not bound yet a CURVE server behind the guard.
 * Returns -errno; the socket must not be used then.
 */
int gate_guard(struct gate *g, void *socket, enum gate_domain domain);

/* Whether the guard was alive a moment ago. */
bool gate_answers(const struct gate *g);

/*
 * Who was sent away since the last call, by address; more addresses than there
 * is room for are together in the last entry, without an address. Returns how
 * many entries of ret are filled. From any thread.
 */
#define GATE_SENT_AWAY_MAX 32
struct sent_away {
	char address[ADDR_TEXT_MAX];
	uint64_t n;
};
size_t gate_sent_away(struct gate *g, struct sent_away ret[GATE_SENT_AWAY_MAX]);

/* Ends the guard alone: from then on nobody comes in. */
void gate_dismiss(struct gate *g);

#endif /* WEIR_COLLECTOR_ACCESS_GATE_H */
