// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_spool.c - a spool file that something has scribbled over: it opens, or a
 * new one takes its place; what comes out are whole frames, and it goes on.
 *
 * An input that begins with 0 is the file; else it is a list of changes to a
 * good one, 5 bytes each: where (little-endian, modulo its size), and what.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "probe/spool/spool.h"
#include "proto/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SAMPLES	    20
#define FRAMES_MAX  1000
#define WAIT_MS	    60000
#define CHANGE_SIZE 5

static char folder[64], path[96];
static uint8_t *good;
static size_t good_size;

static void push(struct spool *s, uint64_t seq)
{
	const struct spool_load load = {.rows = 1, .packets = 2, .bytes = 300};
	struct packed frame;

	assert(ping_pack(FRAME_PING, seq, &frame) == 0); /* any frame will do */
	assert(spool_push(s, seq, &frame, &load) == 0);
}

static struct spool *open_spool(uint64_t epoch)
{
	const struct spool_settings settings = {
		.path = path, .max_bytes = SPOOL_MIN_BYTES, .probe_id = {1}, .epoch = epoch};
	struct spool *s = NULL;

	if (spool_open(&settings, &s) != 0 || spool_start(s, 1, 0) != 0 ||
	    spool_wait(s, 60000) != 0)
		abort();
	return s;
}

static void add_some(struct spool *s, unsigned n)
{
	for (unsigned i = 1; i <= n; i++)
		push(s, i);
	assert(spool_submit(s, 1) == 0);
	assert(spool_wait(s, WAIT_MS) == 0);
}

static void remove_files(void)
{
	DIR *d = opendir(folder);
	const struct dirent *e;

	while (d && (e = readdir(d)))
		(void)unlinkat(dirfd(d), e->d_name, 0); /* not "." and ".." */
	if (d)
		closedir(d);
}

static void clean_up(void)
{
	remove_files();
	(void)rmdir(folder); /* in memory: no harm if it stays */
}

static void make_good(void)
{
	struct spool *s;
	struct stat st;
	int fd;

	(void)snprintf(folder, sizeof(folder), "/dev/shm/fuzz-spool.%d", (int)getpid());
	(void)snprintf(path, sizeof(path), "%s/spool.db", folder);
	if (mkdir(folder, 0700) != 0)
		abort();
	(void)atexit(clean_up);
	log_set_level((enum log_level) - 1); /* damage is what we do here */
	s = open_spool(7);
	add_some(s, SAMPLES);
	spool_close(s);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		abort();
	good_size = (size_t)st.st_size;
	good = malloc(good_size);
	if (!good || read(fd, good, good_size) != (ssize_t)good_size)
		abort();
	close(fd);
}

static void write_file(const uint8_t *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
}

static void write_changed(const uint8_t *data, size_t size)
{
	uint8_t *file = malloc(good_size);
	uint32_t at;

	if (!file)
		abort();
	memcpy(file, good, good_size);
	for (; size >= CHANGE_SIZE; data += CHANGE_SIZE, size -= CHANGE_SIZE) {
		memcpy(&at, data, sizeof(at));
		file[at % good_size] = data[4];
	}
	write_file(file, good_size);
	free(file);
}

/* All that it would send, of all epochs; acknowledged. */
static unsigned take_all(struct spool *s)
{
	struct spool_backlog epochs[SPOOL_MAX_EPOCHS];
	size_t n = spool_epochs(s, epochs);
	struct spool_frame out;
	struct frame frame;
	unsigned taken = 0;

	assert(n >= 1 && n <= SPOOL_MAX_EPOCHS);
	for (size_t i = 0; i < n; i++) {
		while (taken < FRAMES_MAX &&
		       spool_next(s, epochs[i].epoch, SPOOL_MIN_BYTES, &out) == 0) {
			assert(out.first_seq <= out.seq);
			assert(frame_open(out.data, out.len, &frame) == FRAME_OK);
			spool_ack(s, out.epoch, out.seq);
			taken++;
		}
	}
	return taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct spool *s;

	if (!good)
		make_good();
	remove_files();
	if (size > 0 && data[0] == 0)
		write_file(data + 1, size - 1);
	else if (size > 0)
		write_changed(data + 1, size - 1);
	s = open_spool(8);
	(void)take_all(s);
	push(s, 1);
	if (spool_submit(s, 1) == 0)
		(void)spool_wait(s, WAIT_MS);
	(void)take_all(s);
	spool_close(s);
	return 0;
}
