/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cleanup.h - release of locals at the end of their scope.
 *
 *	cleanup(free_p) char *buf = malloc(n);
 *	cleanup(close_p) int fd = open(...);
 *
 * DEFINE_CLEANUP(T *, fn) makes fn_p() for any fn(T *). take_ptr() and
 * take_fd() hand the resource on, so that the scope no longer releases it.
 */
#ifndef WEIR_COMMON_CLEANUP_H
#define WEIR_COMMON_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define cleanup(fn) __attribute__((cleanup(fn)))

/* Makes fn_p(): the cleanup handler that calls fn() unless the pointer is NULL. */
#define DEFINE_CLEANUP(type, fn)                                                                   \
	static inline void fn##_p(type *p)                                                         \
	{                                                                                          \
		if (*p)                                                                            \
			fn(*p);                                                                    \
	}

static inline void free_p(void *p)
{
	free(*(void **)p);
}

static inline void close_p(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define take_ptr(p)                                                                                \
	({                                                                                         \
		__typeof__(p) taken_ = (p);                                                        \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif /* WEIR_COMMON_CLEANUP_H */
