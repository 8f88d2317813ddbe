// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/uplink/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/cleanup.h"

#define UUID_CHARS 36

/* First bytes of a small file into text, NUL-terminated; empty if there is none. */
static void read_text(const char *path, char *text, size_t size)
{
	cleanup(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);

	text[n > 0 ? n : 0] = '\0';
}

static void read_boot_id(uint8_t ret[BOOT_ID_BYTES])
{
	char text[UUID_CHARS + 2] = "";
	const char *p = text;
	size_t n = 0;

	read_text("/proc/sys/kernel/random/boot_id", text, sizeof(text));
	while (n < BOOT_ID_BYTES) {
		unsigned byte;

		p += *p == '-';
		if (sscanf(p, "%2x", &byte) != 1)
			return;
		ret[n++] = (uint8_t)byte;
		p += 2;
	}
}

int identity_new_epoch(uint64_t *ret)
{
	uint64_t epoch = 0;

	while (epoch == 0)
		if (getrandom(&epoch, sizeof(epoch), 0) != (ssize_t)sizeof(epoch))
			return -errno;
	*ret = epoch;
	return 0;
}

int identity_make(const char *host_name, struct identity *ret)
{
	struct identity id = {0};
	struct utsname kernel;
	size_t len;
	int err;

	if (!host_name) {
		if (gethostname(id.host_name, sizeof(id.host_name) - 1) != 0)
			return -errno;
		host_name = id.host_name;
	}
	len = strlen(host_name);
	if (len == 0 || len > HOST_NAME_MAX_BYTES)
		return -EINVAL;
	memmove(id.host_name, host_name, len);

	if (uname(&kernel) == 0)
		(void)snprintf(id.kernel, sizeof(id.kernel), "%s", kernel.release);
	read_boot_id(id.boot_id);
	err = identity_new_epoch(&id.epoch);
	if (err)
		return err;
	*ret = id;
	return 0;
}
