// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/store/reader_lease.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "collector/store/wal.h"
#include "common/clock.h"
#include "common/exit_code.h"

#define LOOK_NS (250 * (long)NS_PER_MS)

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
	uint64_t bytes = wal_bytes(lease.wal);

	(void)signal;
	if (lease.until_ns != UINT64_MAX && bytes >= WAL_CROWDED_BYTES &&
	    (bytes >= WAL_URGENT_BYTES || clock_mono_ns() >= lease.until_ns)) {
		(void)!write(STDERR_FILENO, why, sizeof(why) - 1); /* there is nobody to tell */
		_exit(EXIT_RUNTIME);
	}
	errno = saved;
}

static int start_timer(void)
{
	const struct itimerspec every = {{0, LOOK_NS}, {0, LOOK_NS}};
	const struct sigaction action = {.sa_handler = look, .sa_flags = SA_RESTART};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};

	if (sigaction(SIGRTMIN, &action, NULL) != 0 ||
	    timer_create(CLOCK_MONOTONIC, &event, &lease.timer) != 0 ||
	    timer_settime(lease.timer, 0, &every, NULL) != 0)
		return -errno;
	return 0;
}

static void wait_for_room(void)
{
	const struct timespec pause = {.tv_nsec = 50 * NS_PER_MS};
	uint64_t end_ns = clock_mono_ns() + READER_WAIT_MS * NS_PER_MS;

	while (wal_crowded(lease.wal) && clock_mono_ns() < end_ns)
		(void)nanosleep(&pause, NULL); /* shorter when a signal comes */
}

int reader_lease_begin(const char *db_path, uint64_t lease_ms)
{
	int err = wal_path(db_path, lease.wal);

	if (err)
		return err;
	lease.until_ns = UINT64_MAX; /* there is nothing to end yet */
	wait_for_room();
	lease.until_ns = clock_mono_ns() + lease_ms * NS_PER_MS;
	if (lease.pid == getpid())
		return 0;
	err = start_timer();
	if (!err)
		lease.pid = getpid();
	return err;
}
