// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "common/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/output.h"

#define BAR_WIDTH  20
#define REDRAW_NS  (100 * NS_PER_MS)
#define ERASE_LINE "\r\033[K"

struct progress progress_begin(const char *what, bool bytes)
{
	return (struct progress){.what = what, .bytes = bytes};
}

static void draw(const struct progress *p, uint64_t done, uint64_t total)
{
	char bar[BAR_WIDTH + 1];
	size_t full = total ? (size_t)(done * BAR_WIDTH / total) : 0;

	if (full > BAR_WIDTH)
		full = BAR_WIDTH;
	memset(bar, '#', full);
	memset(bar + full, '-', BAR_WIDTH - full);
	bar[BAR_WIDTH] = '\0';
	fprintf(stderr, ERASE_LINE "%s  ", p->what);
	if (total)
		fprintf(stderr, "[%s] %3u%%  ", bar, (unsigned)(done * 100 / total));
	output_number(stderr, p->bytes ? UNIT_BYTES : UNIT_COUNT, (int64_t)done);
}

void progress_show(struct progress *p, uint64_t done, uint64_t total)
{
	uint64_t now_ns = clock_mono_ns();

	if (now_ns - p->drawn_ns < REDRAW_NS || !isatty(STDERR_FILENO))
		return;
	p->drawn_ns = now_ns;
	p->shown = true;
	draw(p, done, total);
}

void progress_end(struct progress *p)
{
	if (p->shown)
		fputs(ERASE_LINE, stderr);
	p->shown = false;
}
