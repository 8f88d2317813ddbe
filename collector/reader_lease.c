// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/reader_lease.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "collector/wal.h"
#include "common/clock.h"
#include "common/exit_code.h"

#define LOOK_SECONDS 1

/* Read by the handler, which can have no argument of ours. */
static struct {
	char wal[WAL_PATH_MAX];
	uint64_t until_ns;
	pid_t pid; /* whose timer it is */
	timer_t timer;
} lease;

/* Async-signal-safe, all of it: signal-safety(7). */
static void look(int signal)
{
	static const char why[] =
		"weir-collector: ended: reading for so long while much arrives would fill the log"
		" of the database; ask for less, or for a shorter time\n";
	int saved = errno;

	(void)signal;
	if (clock_mono_ns() >= lease.until_ns && wal_bytes(lease.wal) >= WAL_CROWDED_BYTES) {
		(void)!write(STDERR_FILENO, why, sizeof(why) - 1); /* there is nobody to tell */
		_exit(EXIT_RUNTIME);
	}
	errno = saved;
}

static int start_timer(void)
{
	const struct itimerspec every = {{LOOK_SECONDS, 0}, {LOOK_SECONDS, 0}};
	const struct sigaction action = {.sa_handler = look, .sa_flags = SA_RESTART};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};

	if (sigaction(SIGRTMIN, &action, NULL) != 0 ||
	    timer_create(CLOCK_MONOTONIC, &event, &lease.timer) != 0 ||
	    timer_settime(lease.timer, 0, &every, NULL) != 0)
		return -errno;
	return 0;
}

int reader_lease_begin(const char *db_path, uint64_t lease_ms)
{
	int err = wal_path(db_path, lease.wal);

	if (err)
		return err;
	lease.until_ns = clock_mono_ns() + lease_ms * NS_PER_MS;
	if (lease.pid == getpid())
		return 0;
	err = start_timer();
	if (!err)
		lease.pid = getpid();
	return err;
}
