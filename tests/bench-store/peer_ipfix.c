// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/bench-store/peer.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "collector/db/ipfix.h"
#include "common/clock.h"

#define IPFIX_HEADER_BYTES 16
#define IPFIX_TEMPLATE_SET 2
#define REVERSE		   0x8000
#define PACE_RECORDS	   200 /* looks at the clock so often */

struct peer_of_ipfix {
	struct peer base;
	FILE *out;
	struct ipfix *ipfix;
	int fd;
	uint64_t per_second, sent, begun_ns;
};

static uint16_t get_u16(const char *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return be16toh(value);
}

/*
 * Elements as nfcapd understands them: it does not know the octets of layer 2, so
 * that it would store no bytes at all, and takes the flags of the other direction
 * for those of the flow.
 */
static uint16_t renamed(uint16_t id)
{
	static const uint16_t names[][2] = {
		{352, 1}, /* layer2OctetDeltaCount, octetDeltaCount */
		{352 | REVERSE, 1 | REVERSE},
		{6 | REVERSE, 32000 | REVERSE}, /* tcpControlBits; nothing */
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (id == names[i][0])
			return names[i][1];
	return id;
}

static void rename_elements(char *message, size_t len)
{
	char *end = message + IPFIX_HEADER_BYTES, *at = end + 8;

	if (len <= IPFIX_HEADER_BYTES || get_u16(end) != IPFIX_TEMPLATE_SET)
		return;
	end += get_u16(end + 2);
	while (at < end) {
		uint16_t id = get_u16(at), network = htobe16(renamed(id));

		memcpy(at, &network, sizeof(network));
		/* An element; or, in the midst of them, the head of the next template. */
		at += id & REVERSE ? 8 : 4;
	}
}

/* Called with a whole message, as the stream has no buffer. */
static ssize_t send_message(void *cookie, const char *data, size_t len)
{
	struct peer_of_ipfix *p = cookie;
	char message[UINT16_MAX];

	if (len > sizeof(message) || get_u16(data + 2) != len) {
		errno = EMSGSIZE;
		return 0;
	}
	memcpy(message, data, len);
	rename_elements(message, len);
	return send(p->fd, message, len, 0) == (ssize_t)len ? (ssize_t)len : 0;
}

static int connect_to(const char *to, int *ret)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	const char *colon = strchr(to, ':');
	char host[INET_ADDRSTRLEN];
	int fd;

	if (!colon || (size_t)(colon - to) >= sizeof(host))
		return -EINVAL;
	(void)snprintf(host, sizeof(host), "%.*s", (int)(colon - to), to);
	addr.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	if (inet_pton(AF_INET, host, &addr.sin_addr) != 1)
		return -EINVAL;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
		int err = -errno;

		(void)close(fd); /* nothing was sent */
		return err;
	}
	*ret = fd;
	return 0;
}

static void close_ipfix(struct peer *peer)
{
	struct peer_of_ipfix *p = (struct peer_of_ipfix *)peer;

	ipfix_free(p->ipfix);
	if (p->out)
		(void)fclose(p->out); /* has no buffer */
	if (p->fd >= 0)
		(void)close(p->fd); /* datagrams are on their way */
	free(p);
}

static int open_ipfix(const struct peer_settings *settings, struct peer **ret)
{
	struct peer_of_ipfix *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	p->base.kind = &peer_ipfix;
	p->per_second = settings->per_second;
	p->begun_ns = clock_mono_ns();
	p->fd = -1;
	err = connect_to(settings->to, &p->fd);
	if (!err) {
		p->out = fopencookie(p, "w", (cookie_io_functions_t){.write = send_message});
		err = p->out && setvbuf(p->out, NULL, _IONBF, 0) == 0 ? 0 : -ENOMEM;
	}
	if (!err)
		err = ipfix_new(p->out, &p->ipfix);
	if (err) {
		close_ipfix(&p->base);
		return err;
	}
	*ret = &p->base;
	return 0;
}

/* Waits until that many may have been sent. */
static void pace(struct peer_of_ipfix *p)
{
	uint64_t due_ns, now_ns = clock_mono_ns();
	struct timespec pause;

	if (!p->per_second)
		return;
	due_ns = p->begun_ns + (uint64_t)((double)p->sent / (double)p->per_second * 1e9);
	if (due_ns <= now_ns)
		return;
	pause = (struct timespec){.tv_sec = (time_t)((due_ns - now_ns) / NS_PER_SEC),
				  .tv_nsec = (long)((due_ns - now_ns) % NS_PER_SEC)};
	(void)nanosleep(&pause, NULL); /* too early by a signal is early enough */
}

static int put_ipfix(struct peer *peer, const struct peer_chunk *chunk)
{
	struct peer_of_ipfix *p = (struct peer_of_ipfix *)peer;
	int err = 0;

	for (size_t i = 0; !err && i < chunk->n; i++) {
		err = ipfix_add(p->ipfix, chunk->host_ids[i], &chunk->rows[i]);
		if (++p->sent % PACE_RECORDS == 0)
			pace(p);
	}
	return err;
}

static int commit_ipfix(struct peer *peer)
{
	return ipfix_finish(((struct peer_of_ipfix *)peer)->ipfix);
}

const struct peer_kind peer_ipfix = {
	.name = "ipfix",
	.open = open_ipfix,
	.put = put_ipfix,
	.commit = commit_ipfix,
	.close = close_ipfix,
};
