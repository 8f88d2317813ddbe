/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hello_bytes.h - builds TLS ClientHello messages, for the tests of tls, quic and names. */
#ifndef WEIR_TESTS_UNIT_HELLO_BYTES_H
#define WEIR_TESTS_UNIT_HELLO_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes being built; a vector's length is put in when it is closed. */
struct bytes {
	uint8_t data[20000];
	size_t n;
};

static inline void put(struct bytes *b, size_t width, uint64_t value)
{
	for (size_t i = width; i-- > 0;)
		b->data[b->n++] = (uint8_t)(value >> 8 * i);
}

static inline void put_text(struct bytes *b, const char *text)
{
	memcpy(b->data + b->n, text, strlen(text));
	b->n += strlen(text);
}

static inline size_t open_vector(struct bytes *b, size_t width)
{
	b->n += width;
	return b->n;
}

static inline void close_vector(struct bytes *b, size_t width, size_t start)
{
	size_t end = b->n;

	b->n = start - width;
	put(b, width, end - start);
	b->n = end;
}

static inline void put_server_name(struct bytes *b, const char *name)
{
	size_t ext, list, text;

	put(b, 2, 0);
	ext = open_vector(b, 2);
	list = open_vector(b, 2);
	put(b, 1, 0);
	text = open_vector(b, 2);
	put_text(b, name);
	close_vector(b, 2, text);
	close_vector(b, 2, list);
	close_vector(b, 2, ext);
}

static inline void put_alpn(struct bytes *b, const char *first, const char *second)
{
	size_t ext, list;

	put(b, 2, 16);
	ext = open_vector(b, 2);
	list = open_vector(b, 2);
	put(b, 1, strlen(first));
	put_text(b, first);
	put(b, 1, strlen(second));
	put_text(b, second);
	close_vector(b, 2, list);
	close_vector(b, 2, ext);
}

/* A hello with filler bytes of another extension before the names. */
static inline void put_hello(struct bytes *b, size_t filler, const char *name)
{
	size_t msg, exts, ext;

	put(b, 1, 1); /* ClientHello */
	msg = open_vector(b, 3);
	put(b, 2, 0x0303);
	b->n += 32; /* random */
	put(b, 1, 0);
	put(b, 2, 2);
	put(b, 2, 0x1301);
	put(b, 2, 0x0100); /* no compression */
	exts = open_vector(b, 2);
	put(b, 2, 0x0a0a);
	ext = open_vector(b, 2);
	b->n += filler;
	close_vector(b, 2, ext);
	put_server_name(b, name);
	put_alpn(b, "h2", "http/1.1");
	close_vector(b, 2, exts);
	close_vector(b, 3, msg);
}

/* Wraps a message in records of at most max bytes. */
static inline void put_records(struct bytes *b, const struct bytes *msg, size_t max)
{
	for (size_t at = 0; at < msg->n; at += max) {
		size_t n = msg->n - at < max ? msg->n - at : max;

		put(b, 1, 22);
		put(b, 2, 0x0301);
		put(b, 2, n);
		memcpy(b->data + b->n, msg->data + at, n);
		b->n += n;
	}
}

#endif /* WEIR_TESTS_UNIT_HELLO_BYTES_H */
