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

#include <stddef.h>

#ifdef WEIR_FAILPOINTS
#define FAILPOINT(name)			      failpoint(name)
#define FAILPOINT_NUMBER(variable, otherwise) failpoint_number(variable, otherwise)
#else
#define FAILPOINT(name)			      ((void)0)
#define FAILPOINT_NUMBER(variable, otherwise) (otherwise)
#endif

/* Use FAILPOINT(). */
void failpoint(const char *name);
/*
 * Use FAILPOINT_NUMBER(): what the environment has under that name, so that what
 * takes many flows to happen happens more often in a test.
 */
size_t failpoint_number(const char *variable, size_t otherwise);

#endif /* WEIR_COMMON_FAILPOINT_H */
