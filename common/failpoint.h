/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * failpoint.h - places at which a test ends the program, as kill -9 would.
 *
 * Only in a build with FAILPOINTS=1 (a folder of its own); else FAILPOINT() is
 * nothing. The environment says where: WEIR_FAILPOINT=NAME:N is the N-th time
 * that NAME is passed.
 */
#ifndef WEIR_COMMON_FAILPOINT_H
#define WEIR_COMMON_FAILPOINT_H

#ifdef WEIR_FAILPOINTS
#define FAILPOINT(name) failpoint(name)
#else
#define FAILPOINT(name) ((void)0)
#endif

/* Use FAILPOINT(). */
void failpoint(const char *name);

#endif /* WEIR_COMMON_FAILPOINT_H */
