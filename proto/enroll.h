/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * enroll.h - how a host asks to be admitted: ENROLL and its answer, packed and
 * checked as message.h does it.
 *
 * Both travel over the enrolment port, where every key may connect. Who asks
 * is the key of the connection, nothing in the message.
 */
#ifndef WEIR_PROTO_ENROLL_H
#define WEIR_PROTO_ENROLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/join.h"
#include "proto/message.h"

struct enroll {
	uint8_t secret[JOIN_SECRET_BYTES]; /* zeros: none */
	char host_name[HOST_NAME_MAX_BYTES + 1];
	char build[64], kernel[96];
	bool rotate; /* new_key shall take the place of the connection's key */
	uint8_t new_key[JOIN_KEY_BYTES];
	bool has_id; /* of an older key, by which other collectors know it */
	uint8_t probe_id[PROBE_ID_BYTES];
};

/* Same numbers as EnrollStatus in weir.proto. */
enum enroll_status {
	ENROLL_REFUSED,
	ENROLL_ADMITTED,
	ENROLL_PENDING, /* somebody has to approve it: ask again later */
	ENROLL_RETRY,	/* cannot be told now */
};

struct enroll_result {
	enum enroll_status status;
	uint8_t probe_id[PROBE_ID_BYTES]; /* with ADMITTED and PENDING */
	char text[256];			  /* for people */
};

int enroll_pack(const struct enroll *e, struct packed *ret);
int enroll_unpack(const uint8_t *body, size_t len, struct enroll *ret, const char **ret_why);

int enroll_result_pack(const struct enroll_result *r, struct packed *ret);
int enroll_result_unpack(const uint8_t *body, size_t len, struct enroll_result *ret,
			 const char **ret_why);

#endif /* WEIR_PROTO_ENROLL_H */
