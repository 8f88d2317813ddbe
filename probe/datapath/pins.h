/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * pins.h - the folder in bpffs in which maps and links outlive the probe:
 * BASE/NETNS, NETNS being the inode of the network namespace.
 *
 * One probe at a time has it (a lock that the kernel releases with the
 * process); another one in the same namespace goes without.
 *
 * Threads: one at a time. Errors: -errno.
 */
#ifndef WEIR_PROBE_DATAPATH_PINS_H
#define WEIR_PROBE_DATAPATH_PINS_H

#include <stdbool.h>
#include <stddef.h>

struct pins;

#define PINS_NAME_MAX 64

/*
 * Makes the folder, base too if only that is missing, and locks it. -ENOTSUP
 * if base is in no bpffs, -EBUSY if another probe has it.
 */
int pins_open(const char *base, struct pins **ret);

/* 0 if pins_open() could succeed, else why not; makes nothing. */
int pins_check(const char *base);

/* Unlocks; what is pinned stays. NULL is a no-op. */
void pins_close(struct pins *p);

const char *pins_folder(const struct pins *p);

/* A descriptor of what is pinned under that name, -ENOENT if nothing is. */
int pins_get(const struct pins *p, const char *name);

int pins_put(const struct pins *p, const char *name, int fd);

/* Nothing happens if there is no such name. */
void pins_remove(const struct pins *p, const char *name);

/* Calls fn with every name. It may remove that name. */
void pins_each(const struct pins *p, void (*fn)(const char *name, void *arg), void *arg);

/* Removes all names: links first, so that no program runs without its maps. */
void pins_clear(const struct pins *p);

/* Removes all names and the folder. */
void pins_destroy(const struct pins *p);

/*
 * `weir-probe cleanup`: removes what killed probes have left of this network
 * namespace, or of all. Returns how many folders, or -errno.
 */
int pins_cleanup(const char *base, bool all);

#endif /* WEIR_PROBE_DATAPATH_PINS_H */
