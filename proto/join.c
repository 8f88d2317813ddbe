/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "proto/join.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "proto/frame.h"

#define PREFIX	  "weir1_"
#define AT_SECRET JOIN_KEY_BYTES
#define AT_PORTS  (AT_SECRET + JOIN_SECRET_BYTES)
#define AT_HOST	  (AT_PORTS + 4)
#define CRC_BYTES 4
#define RAW_MAX	  (AT_HOST + JOIN_HOST_MAX + CRC_BYTES)

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

_Static_assert(sizeof(PREFIX) + (RAW_MAX * 4 + 2) / 3 <= JOIN_TEXT_MAX, "a join string fits");

static void encode(const uint8_t *raw, size_t len, char *ret)
{
	uint32_t bits = 0;
	unsigned n = 0;

	for (size_t i = 0; i < len; i++) {
		bits = bits << 8 | raw[i];
		for (n += 8; n >= 6; n -= 6)
			*ret++ = digits[bits >> (n - 6) & 63];
	}
	if (n)
		*ret++ = digits[bits << (6 - n) & 63];
	*ret = '\0';
}

/* How many bytes; 0 for a letter that is none, for too many, or bits left over. */
static size_t decode(const char *text, uint8_t ret[RAW_MAX])
{
	uint32_t bits = 0;
	unsigned n = 0;
	size_t len = 0;

	for (; *text; text++) {
		const char *digit = strchr(digits, *text);

		if (!digit)
			return 0;
		bits = bits << 6 | (uint32_t)(digit - digits);
		n += 6;
		if (n < 8)
			continue;
		n -= 8;
		if (len == RAW_MAX)
			return 0;
		ret[len++] = (uint8_t)(bits >> n);
	}
	return n < 6 && (bits & ((1u << n) - 1)) == 0 ? len : 0;
}

/* What may stand between "tcp://" and ":PORT", brackets aside. */
static bool good_host(const char *host, size_t len)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-_%";

	if (len == 0 || len > JOIN_HOST_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!host[i] || !strchr(allowed, host[i]))
			return false;
	return true;
}

static uint32_t get_crc(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int join_format(const struct join *j, char ret[JOIN_TEXT_MAX])
{
	size_t host_len = strnlen(j->host, sizeof(j->host)), len = AT_HOST + host_len;
	uint8_t raw[RAW_MAX];
	uint32_t crc;

	if (!good_host(j->host, host_len) || j->port == 0 || j->enroll_port == 0)
		return -EINVAL;
	memcpy(raw, j->server_key, JOIN_KEY_BYTES);
	memcpy(raw + AT_SECRET, j->secret, JOIN_SECRET_BYTES);
	raw[AT_PORTS] = (uint8_t)(j->port >> 8);
	raw[AT_PORTS + 1] = (uint8_t)j->port;
	raw[AT_PORTS + 2] = (uint8_t)(j->enroll_port >> 8);
	raw[AT_PORTS + 3] = (uint8_t)j->enroll_port;
	memcpy(raw + AT_HOST, j->host, host_len);
	crc = crc32c(raw, len);
	for (int i = 0; i < CRC_BYTES; i++)
		raw[len++] = (uint8_t)(crc >> 8 * i);
	memcpy(ret, PREFIX, sizeof(PREFIX) - 1);
	encode(raw, len, ret + sizeof(PREFIX) - 1);
	return 0;
}

static const char *parse(const uint8_t *raw, size_t len, struct join *ret)
{
	struct join j = {0};
	size_t host_len;

	if (len < AT_HOST + 1 + CRC_BYTES)
		return "it is not whole: copy all of it";
	host_len = len - AT_HOST - CRC_BYTES;
	if (get_crc(raw + len - CRC_BYTES) != crc32c(raw, len - CRC_BYTES))
		return "its checksum does not match: copy all of it";
	memcpy(j.server_key, raw, JOIN_KEY_BYTES);
	memcpy(j.secret, raw + AT_SECRET, JOIN_SECRET_BYTES);
	j.port = (uint16_t)(raw[AT_PORTS] << 8 | raw[AT_PORTS + 1]);
	j.enroll_port = (uint16_t)(raw[AT_PORTS + 2] << 8 | raw[AT_PORTS + 3]);
	if (!good_host((const char *)raw + AT_HOST, host_len))
		return "no host is called that";
	if (j.port == 0 || j.enroll_port == 0)
		return "no port is 0";
	memcpy(j.host, raw + AT_HOST, host_len);
	*ret = j;
	return NULL;
}

int join_parse(const char *text, struct join *ret, const char **ret_why)
{
	uint8_t raw[RAW_MAX];
	const char *why;

	if (strncmp(text, PREFIX, sizeof(PREFIX) - 1) != 0)
		why = "it does not begin with " PREFIX;
	else
		why = parse(raw, decode(text + sizeof(PREFIX) - 1, raw), ret);
	*ret_why = why;
	return why ? -EINVAL : 0;
}
