/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * message.h - the messages of weir.proto as C structs, packed and checked.
 *
 * Packing gives one whole frame (proto/frame.h) in a malloc()ed buffer that
 * the caller owns. Unpacking takes a frame's body from an untrusted peer: it
 * bounds the memory (MESSAGE_MAX_ALLOC for one call, and what checking a block
 * of BATCH_MAX_ROWS takes), checks that every value is within its range and every
 * text is valid UTF-8 without NUL, and refuses the whole message otherwise.
 *
 * Errors: -ENOMEM; -EBADMSG for a body that is not a valid message, with the
 * reason as a constant text in *ret_why (which may be NULL); -E2BIG when a
 * packed frame would pass FRAME_MAX_BYTES.
 * Threads: no state; any.
 */
#ifndef WEIR_PROTO_MESSAGE_H
#define WEIR_PROTO_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/flow_record.h"

#define PROBE_ID_BYTES	    16
#define BOOT_ID_BYTES	    16
#define HOST_NAME_MAX_BYTES 255
#define BATCH_MAX_ROWS	    4096 /* of usual ones; batch_pack() says when they do not fit a frame */
#define BATCH_MAX_COUNTERS  128
#define COUNTER_NAME_MAX    48 /* with its NUL; [a-z0-9_] only */
#define HELLO_MAX_IFACES    256
#define HELLO_MAX_EPOCHS    64
#define HELLO_MAX_ADDRS	    256
#define HELLO_ADDRS_MINOR   2	  /* version_minor of a probe that tells its addresses */
#define CREDIT_MIN_BYTES    4096u /* a batch takes no less of the credit */
#define MESSAGE_MAX_ALLOC   (8u << 20)

struct hello_iface {
	uint32_t index;
	char name[IFACE_NAME_MAX];
	char hooks[16];
};

struct hello {
	uint32_t version_major, version_minor;
	uint8_t probe_id[PROBE_ID_BYTES];
	uint64_t epoch, oldest_seq;
	char host_name[HOST_NAME_MAX_BYTES + 1];
	char build[64], kernel[96];
	uint8_t boot_id[BOOT_ID_BYTES];
	uint64_t real_ns, mono_ns;
	uint64_t backlog_batches, backlog_bytes;
	size_t n_ifaces;
	struct hello_iface ifaces[HELLO_MAX_IFACES];
	uint64_t run; /* never 0 when unpacked */
	bool elsewhere;
	size_t n_open_epochs;
	uint64_t open_epochs[HELLO_MAX_EPOCHS];
	size_t n_addrs;
	uint8_t addrs[HELLO_MAX_ADDRS][16]; /* of the host's interfaces; common/addr.h form */
};

struct welcome {
	uint32_t version_major, version_minor;
	uint64_t epoch, last_seq, credit_bytes;
	uint32_t max_batch_bytes, heartbeat_ms;
	uint64_t real_ns;
};

enum batch_kind { BATCH_FLOWS, BATCH_TOMBSTONE };

/* Same numbers as LossReason in weir.proto. */
enum loss_reason { LOSS_NO_ROOM, LOSS_REFUSED, LOSS_DAMAGED };

struct counter_value {
	char name[COUNTER_NAME_MAX];
	uint64_t value;
};

struct batch {
	uint8_t probe_id[PROBE_ID_BYTES];
	uint64_t epoch, first_seq, seq;
	enum batch_kind kind;
	size_t n_counters;
	struct counter_value counters[BATCH_MAX_COUNTERS];
	uint64_t run; /* never 0 when unpacked */
	uint64_t counters_ns;
	/* BATCH_TOMBSTONE */
	uint64_t dropped_rows, dropped_packets, dropped_bytes;
	enum loss_reason reason;
	uint64_t lost_from_ns, lost_until_ns;
	size_t n_rows;
	struct flow_record *rows; /* n_rows of them: only to be packed */
	/* Only when unpacked: the rows as a sealed block of proto/flow_block.h, checked. */
	uint8_t *block;
	size_t block_len;
	struct flow_summary summary;
};

struct ack {
	uint64_t epoch, up_to_seq, credit_bytes;
};

/* Same numbers as NackCode in weir.proto. */
enum nack_code {
	NACK_UNSPECIFIED,
	NACK_MALFORMED,
	NACK_TOO_BIG,
	NACK_UNSUPPORTED,
	NACK_GAP,
	NACK_NO_HELLO,
	NACK_OVERLOADED,
	NACK_STORAGE,
	NACK_NOT_ADMITTED,
};

struct nack {
	uint64_t epoch, seq, last_seq;
	enum nack_code code;
	uint32_t retry_after_ms;
	char text[256];
};

/* Same numbers as CommandKind in weir.proto; an unknown one is for the probe to refuse. */
enum command_kind { COMMAND_NONE, COMMAND_ECHO, COMMAND_BLOCK, COMMAND_UNBLOCK };

struct host_command {
	uint64_t command_id, not_after_ns;
	uint32_t kind; /* enum command_kind, or a later one */
	uint32_t ttl_s;
	bool dry_run;
	char prefix[64], reason[128], actor[64];
};

struct command_result {
	uint64_t command_id;
	uint32_t status; /* 0: done; else an errno */
	char text[128];
};

/* What a batch of that length takes of the credit. */
static inline uint64_t credit_cost(uint64_t frame_len)
{
	return frame_len < CREDIT_MIN_BYTES ? CREDIT_MIN_BYTES : frame_len;
}

/* A sealed frame, owned by the caller: free(frame->data). */
struct packed {
	uint8_t *data;
	size_t len;
};

int hello_pack(const struct hello *h, struct packed *ret);
int hello_unpack(const uint8_t *body, size_t len, struct hello *ret, const char **ret_why);

int welcome_pack(const struct welcome *w, struct packed *ret);
int welcome_unpack(const uint8_t *body, size_t len, struct welcome *ret, const char **ret_why);

/*
 * Reads b only; rows need not outlive the call. -E2BIG for more rows than
 * BATCH_MAX_ROWS, or so long ones that they do not fit: try half of them.
 */
int batch_pack(const struct batch *b, struct packed *ret);
/* On success the caller owns *ret: release with batch_free(). */
int batch_unpack(const uint8_t *body, size_t len, struct batch **ret, const char **ret_why);
/*
 * Which batch that claims to be, however broken the rest is: what is not found
 * becomes 0. Never fails on bad input; the claim is checked by nothing.
 */
void batch_peek(const uint8_t *body, size_t len, uint64_t *ret_epoch, uint64_t *ret_seq);
/* The block of rows as batch_pack() makes it; *ret is for free(). */
int batch_seal_rows(const struct flow_record *rows, size_t n, uint8_t **ret, size_t *ret_len);
/* The rows of an unpacked batch, for free(). */
int batch_rows(const struct batch *b, struct flow_record **ret);
/* Releases a batch of batch_unpack(). NULL is a no-op. */
void batch_free(struct batch *b);

int ack_pack(const struct ack *a, struct packed *ret);
int ack_unpack(const uint8_t *body, size_t len, struct ack *ret, const char **ret_why);

int nack_pack(const struct nack *n, struct packed *ret);
int nack_unpack(const uint8_t *body, size_t len, struct nack *ret, const char **ret_why);

int host_command_pack(const struct host_command *c, struct packed *ret);
int host_command_unpack(const uint8_t *body, size_t len, struct host_command *ret,
			const char **ret_why);

int command_result_pack(const struct command_result *r, struct packed *ret);
int command_result_unpack(const uint8_t *body, size_t len, struct command_result *ret,
			  const char **ret_why);

/* PING and PONG carry one nonce. type is FRAME_PING or FRAME_PONG. */
int ping_pack(int type, uint64_t nonce, struct packed *ret);
int ping_unpack(const uint8_t *body, size_t len, uint64_t *ret_nonce, const char **ret_why);

#endif /* WEIR_PROTO_MESSAGE_H */
