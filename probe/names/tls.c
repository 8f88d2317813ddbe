// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/names/tls.h"

#include <errno.h>
#include <string.h>

#include "probe/names/reader.h"
#include "probe/names/wire_text.h"

#define CLIENT_HELLO	 1
#define RANDOM_BYTES	 (2 + 32) /* with the legacy version before it */
#define EXT_SERVER_NAME	 0
#define EXT_ALPN	 16
#define NAME_TYPE_HOST	 0
#define RECORD_HANDSHAKE 22
#define RECORD_HEADER	 5
#define RECORD_MAX	 16384
#define HANDSHAKE_HEADER 4

/* A string of the hello, which is of use only when all of it is there. */
static int get_string(struct reader *r, unsigned len_bytes, struct reader *ret)
{
	int err = reader_vector(r, len_bytes, ret);

	if (err)
		return err;
	return reader_whole(ret) ? 0 : -EAGAIN;
}

static int get_server_name(struct reader ext, struct tls_hello *h)
{
	struct wire_text text = wire_text_start(h->sni, sizeof(h->sni));
	struct reader list, name;
	uint32_t type;
	int err;

	err = reader_vector(&ext, 2, &list);
	while (!err && list.left > 0) {
		err = reader_uint(&list, 1, &type);
		if (!err)
			err = get_string(&list, 2, &name);
		if (!err && type == NAME_TYPE_HOST && !h->sni[0])
			wire_text_bytes(&text, name.p, name.have, "");
	}
	h->cut |= text.cut;
	return err;
}

static int get_alpn(struct reader ext, struct tls_hello *h)
{
	struct wire_text text = wire_text_start(h->alpn, sizeof(h->alpn));
	struct reader list, protocol;
	int err;

	err = reader_vector(&ext, 2, &list);
	while (!err && list.left > 0) {
		err = get_string(&list, 1, &protocol);
		if (err)
			break;
		if (h->alpn[0])
			wire_text_char(&text, ',');
		wire_text_bytes(&text, protocol.p, protocol.have, ",");
	}
	h->cut |= text.cut;
	return err;
}

static int get_extensions(struct reader exts, struct tls_hello *h)
{
	struct reader body;
	uint32_t type;
	int err = 0;

	while (!err && exts.left > 0) {
		err = reader_uint(&exts, 2, &type);
		if (!err)
			err = reader_vector(&exts, 2, &body);
		if (!err && type == EXT_SERVER_NAME)
			err = get_server_name(body, h);
		else if (!err && type == EXT_ALPN)
			err = get_alpn(body, h);
	}
	return err;
}

/* From the legacy version on. */
static int get_body(struct reader r, struct tls_hello *h)
{
	struct reader unused, exts;
	int err;

	err = reader_sub(&r, RANDOM_BYTES, &unused);
	if (!err)
		err = reader_vector(&r, 1, &unused); /* session */
	if (!err)
		err = reader_vector(&r, 2, &unused); /* cipher suites */
	if (!err)
		err = reader_vector(&r, 1, &unused); /* compression */
	if (err || r.left == 0)
		return err; /* TLS 1.2 and before may have no extensions */
	err = reader_vector(&r, 2, &exts);
	if (!err && r.left > 0)
		return -EBADMSG;
	return err ? err : get_extensions(exts, h);
}

int tls_parse_hello(const uint8_t *msg, size_t len, struct tls_hello *ret)
{
	struct reader r = {msg, len, TLS_HELLO_MAX}, body;
	uint32_t type;
	int err;

	*ret = (struct tls_hello){0};
	if (len > TLS_HELLO_MAX)
		r.have = TLS_HELLO_MAX;
	err = reader_uint(&r, 1, &type);
	if (!err && type != CLIENT_HELLO)
		return -EBADMSG;
	if (!err)
		err = reader_vector(&r, 3, &body);
	if (err)
		return err;
	err = get_body(body, ret);
	return err || reader_whole(&body) ? err : -EAGAIN;
}

/* Whether msg holds the handshake message whose header it begins with. */
static bool is_whole(const uint8_t *msg, size_t len)
{
	return len >= HANDSHAKE_HEADER &&
	       len - HANDSHAKE_HEADER >= ((size_t)msg[1] << 16 | (size_t)msg[2] << 8 | msg[3]);
}

int tls_parse_records(const uint8_t *stream, size_t len, struct tls_hello *ret)
{
	uint8_t msg[TLS_HELLO_MAX];
	size_t n = 0;

	*ret = (struct tls_hello){0};
	while (len >= RECORD_HEADER && !is_whole(msg, n)) {
		size_t whole = (size_t)stream[3] << 8 | stream[4], have = len - RECORD_HEADER;

		if (stream[0] != RECORD_HANDSHAKE || stream[1] != 3 || whole == 0 ||
		    whole > RECORD_MAX)
			return -EBADMSG;
		if (have > whole)
			have = whole;
		if (have > sizeof(msg) - n)
			return -EBADMSG;
		memcpy(msg + n, stream + RECORD_HEADER, have);
		n += have;
		stream += RECORD_HEADER + have;
		len -= RECORD_HEADER + have;
	}
	return tls_parse_hello(msg, n, ret);
}
