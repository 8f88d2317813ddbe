/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * link.h - one ZeroMQ DEALER socket to the collector, frame by frame, always
 * encrypted (CURVE): it speaks with nobody but the owner of the server's key.
 *
 * ZeroMQ reconnects by itself, but cannot be asked how it stands: the sender
 * judges by the answers and replaces the whole link. A closed link drops what
 * it had not sent (LINGER 0); the spool still has it.
 *
 * Threads: one. Errors: -errno, ZeroMQ's own included (text: link_error()).
 */
#ifndef WEIR_PROBE_UPLINK_LINK_H
#define WEIR_PROBE_UPLINK_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/frame.h"

struct link;
struct link_keys;

/* "tcp://HOST:PORT", HOST a name, an IPv4 or a bracketed IPv6 address. -EINVAL otherwise. */
int link_check_url(const char *url);

/*
 * context: of zmq_ctx_new(), borrowed until link_close(). keys (keyring.h) are
 * copied. Does not wait for a connection.
 */
int link_open(void *context, const char *url, const struct link_keys *keys, struct link **ret);

/* NULL is a no-op. */
void link_close(struct link *l);

/* Whether the collector has refused the key of this host since link_open(). */
bool link_refused(struct link *l);

/* Whether link_send() would take a frame now. */
bool link_writable(struct link *l);

/* Queues one frame; copies it. Returns -EAGAIN when the socket takes no more now. */
int link_send(struct link *l, const uint8_t *data, size_t len);

/*
 * Takes one frame that has come, without waiting. Its body is borrowed until
 * the next call. Returns -EAGAIN if there is none, -EBADMSG for a message that
 * is no frame (*ret_why says why), -EPROTONOSUPPORT for one of another major version.
 */
int link_recv(struct link *l, struct frame *ret, const char **ret_why);

/*
 * Waits until a frame has come, l takes a frame again (if want_send), one of
 * the n fds is readable (at most LINK_MAX_FDS), or timeout_ms has passed.
 * l may be NULL.
 */
#define LINK_MAX_FDS 2
int link_wait(struct link *l, bool want_send, const int *fds, size_t n, int timeout_ms);

const char *link_error(int err);

#endif /* WEIR_PROBE_UPLINK_LINK_H */
