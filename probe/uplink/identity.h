/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * identity.h - who this probe is, as it tells the collector.
 *
 * probe_id: the id of its first key (common/key.h): the same after every
 *           restart, every new name and every new key. identity_make() leaves
 *           it zero: the caller has the key.
 * epoch:    random and new at every start, never 0.
 */
#ifndef WEIR_PROBE_UPLINK_IDENTITY_H
#define WEIR_PROBE_UPLINK_IDENTITY_H

#include <stdint.h>

#include "proto/message.h"

struct identity {
	uint8_t probe_id[PROBE_ID_BYTES];
	uint64_t epoch;
	char host_name[HOST_NAME_MAX_BYTES + 1];
	uint8_t boot_id[BOOT_ID_BYTES]; /* zero where the kernel does not tell */
	char kernel[96];		/* uname -r */
};

/*
 * host_name NULL: the one of this machine. Returns -EINVAL for a name that is
 * empty or longer than HOST_NAME_MAX_BYTES, -errno without randomness.
 */
int identity_make(const char *host_name, struct identity *ret);

/* A random number for another epoch of the same start, never 0. -errno without randomness. */
int identity_new_epoch(uint64_t *ret);

#endif /* WEIR_PROBE_UPLINK_IDENTITY_H */
