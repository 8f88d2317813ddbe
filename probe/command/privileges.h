/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * privileges.h - what the probe may do once everything is loaded: CAP_BPF and
 * CAP_NET_ADMIN, to read its maps and to attach to interfaces that come later.
 * As root also CAP_DAC_OVERRIDE, since its files may be the service's user's.
 * Neither it nor what it starts can get more again.
 */
#ifndef WEIR_PROBE_COMMAND_PRIVILEGES_H
#define WEIR_PROBE_COMMAND_PRIVILEGES_H

/* For the calling thread and those that it starts from now on. Returns -errno. */
int privileges_drop(void);

#endif /* WEIR_PROBE_COMMAND_PRIVILEGES_H */
