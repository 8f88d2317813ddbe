// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * shift_clock.c - for LD_PRELOAD: the wall clock of one process is off by what
 * is written, as an int64_t in ms, at the start of the file $SHIFT_CLOCK. The
 * machine's own clock is never touched. test_clock.sh builds it.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shift_ms;

__attribute__((constructor)) static void open_shift(void)
{
	const char *path = getenv("SHIFT_CLOCK");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *p =
		fd >= 0 ? mmap(NULL, sizeof(*shift_ms), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (p == MAP_FAILED)
		abort(); /* a test without its clock tests nothing */
	shift_ms = p;
	close(fd);
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int err = (int)syscall(SYS_clock_gettime, id, ts);

	if (err == 0 && id == CLOCK_REALTIME && shift_ms) {
		int64_t ns = ts->tv_sec * 1000000000ll + ts->tv_nsec + *shift_ms * 1000000ll;

		ts->tv_sec = ns / 1000000000ll;
		ts->tv_nsec = ns % 1000000000ll;
	}
	return err;
}
