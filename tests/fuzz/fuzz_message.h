/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* fuzz_message.h - the decoder of each frame type, for the two fuzzers of messages. */
#ifndef WEIR_TESTS_FUZZ_FUZZ_MESSAGE_H
#define WEIR_TESTS_FUZZ_FUZZ_MESSAGE_H

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/enroll.h"
#include "proto/flow_columns.h"
#include "proto/frame.h"
#include "proto/message.h"

/*
 * What one message may decode to, packed again and decoded again, is the same:
 * so nothing that is accepted is outside of what can be said.
 */
#define FUZZ_ROUND_TRIP(name, body, len)                                                           \
	do {                                                                                       \
		static struct name first, second;                                                  \
		const char *why = NULL;                                                            \
		struct packed packed;                                                              \
		int err = name##_unpack(body, len, &first, &why);                                  \
                                                                                                   \
		assert(err == 0 || (err == -EBADMSG && why));                                      \
		if (err)                                                                           \
			break;                                                                     \
		assert(name##_pack(&first, &packed) == 0);                                         \
		assert(name##_unpack(packed.data + FRAME_HEADER_BYTES,                             \
				     packed.len - FRAME_HEADER_BYTES, &second, &why) == 0);        \
		assert(memcmp(&first, &second, sizeof(first)) == 0);                               \
		free(packed.data);                                                                 \
	} while (0)

static inline void fuzz_batch(const uint8_t *body, size_t len)
{
	struct batch *first, *second;
	const char *why = NULL;
	struct packed packed;
	int err = batch_unpack(body, len, &first, &why);
	uint64_t epoch, seq;

	assert(err == 0 || (err == -EBADMSG && why));
	batch_peek(body, len, &epoch, &seq); /* of anything */
	if (err)
		return;
	assert(epoch == first->epoch && seq == first->seq);
	assert(batch_rows(first, &first->rows) == 0); /* what was taken can be read */
	if (batch_pack(first, &packed) == 0) {
		assert(batch_unpack(packed.data + FRAME_HEADER_BYTES,
				    packed.len - FRAME_HEADER_BYTES, &second, &why) == 0);
		assert(first->n_rows == second->n_rows && first->n_counters == second->n_counters);
		assert(memcmp(first->counters, second->counters, sizeof(first->counters)) == 0);
		assert(first->seq == second->seq && first->kind == second->kind);
		free(packed.data);
		batch_free(second);
	}
	free(first->rows);
	batch_free(first);
}

static inline void fuzz_body(enum frame_type type, const uint8_t *body, size_t len)
{
	const char *why = NULL;
	uint64_t nonce;

	switch (type) {
	case FRAME_HELLO:
		FUZZ_ROUND_TRIP(hello, body, len);
		break;
	case FRAME_WELCOME:
		FUZZ_ROUND_TRIP(welcome, body, len);
		break;
	case FRAME_BATCH:
		fuzz_batch(body, len);
		break;
	case FRAME_ACK:
		FUZZ_ROUND_TRIP(ack, body, len);
		break;
	case FRAME_NACK:
		FUZZ_ROUND_TRIP(nack, body, len);
		break;
	case FRAME_PING:
	case FRAME_PONG:
		assert(ping_unpack(body, len, &nonce, &why) == 0 || why);
		break;
	case FRAME_COMMAND:
		FUZZ_ROUND_TRIP(host_command, body, len);
		break;
	case FRAME_COMMAND_RESULT:
		FUZZ_ROUND_TRIP(command_result, body, len);
		break;
	case FRAME_ENROLL:
		FUZZ_ROUND_TRIP(enroll, body, len);
		break;
	case FRAME_ENROLL_RESULT:
		FUZZ_ROUND_TRIP(enroll_result, body, len);
		break;
	}
}

#endif /* WEIR_TESTS_FUZZ_FUZZ_MESSAGE_H */
