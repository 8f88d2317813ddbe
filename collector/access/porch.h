/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * porch.h - connections of a listening ZeroMQ socket that have come, but have
 * not spoken yet: at most so many, or they would take every descriptor there
 * is and keep those out who have something to say.
 *
 * One too many, and one is shown out: of the address that has most of them, the
 * one that came first and has not sent a byte, else the one that came first. So
 * whoever connects and is silent only crowds out himself. A connection leaves the porch with its
 * first message, which only an admitted key can send.
 *
 * libzmq accepts and handshakes by itself; what happens comes as events of its
 * monitor, and to be shown out is a shutdown(2) of the descriptor.
 *
 * Threads: that of the socket only.
 */
#ifndef WEIR_COLLECTOR_ACCESS_PORCH_H
#define WEIR_COLLECTOR_ACCESS_PORCH_H

#include <stddef.h>
#include <stdint.h>

struct porch;

/* Both borrowed until porch_close(). Before the socket is bound. Returns -errno. */
int porch_open(void *context, void *socket, size_t max, struct porch **ret);
/* Before the socket is closed. NULL is a no-op. */
void porch_close(struct porch *p);

/* Readable when something has happened: for zmq_poll(), then porch_watch(). */
void *porch_socket(struct porch *p);
void porch_watch(struct porch *p);

/* A message has come over this descriptor. */
void porch_spoke(struct porch *p, int fd);

/* How many were shown out. */
uint64_t porch_shown_out(const struct porch *p);

#endif /* WEIR_COLLECTOR_ACCESS_PORCH_H */
