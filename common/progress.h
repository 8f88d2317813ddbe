/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * progress.h - a bar on stderr for work that takes long, if stderr is a terminal.
 *
 *	copying  [##########----------]  50%  1.2 GiB
 *
 * Drawn at most ten times a second. Threads: one.
 */
#ifndef WEIR_COMMON_PROGRESS_H
#define WEIR_COMMON_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what; /* constant */
	bool bytes;	  /* amounts are bytes; else plain numbers */
	bool shown;	  /* private, as what follows */
	uint64_t drawn_ns;
};

struct progress progress_begin(const char *what, bool bytes);

/* done of total; total 0: not known. */
void progress_show(struct progress *p, uint64_t done, uint64_t total);

/* Takes the bar away, so that what follows begins a line. */
void progress_end(struct progress *p);

#endif /* WEIR_COMMON_PROGRESS_H */
