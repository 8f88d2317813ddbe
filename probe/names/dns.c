// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/names/dns.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "probe/names/wire_text.h"

#define HEADER_BYTES 12
#define NAME_BYTES   255 /* RFC 1035 2.3.4, length bytes and the root included */
#define LABEL_BYTES  63
#define QR_BIT	     0x8000
#define RCODE_MASK   0x000f
#define OPCODE_MAX   6 /* RFC 8490 */

static uint16_t u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* The name at at. Returns the offset behind it, 0 when it is malformed. */
static size_t get_name(const uint8_t *msg, size_t len, size_t at, struct dns_message *m)
{
	struct wire_text text = wire_text_start(m->qname, sizeof(m->qname));
	size_t start = at;

	for (;;) {
		size_t n;

		if (at >= len)
			return 0;
		n = msg[at++];
		if (n > LABEL_BYTES || n > len - at || at + n - start > NAME_BYTES)
			return 0;
		if (n == 0)
			break;
		if (at - 1 > start)
			wire_text_char(&text, '.');
		wire_text_bytes(&text, msg + at, n, ".");
		at += n;
	}
	if (at - start == 1)
		wire_text_char(&text, '.');
	m->cut = text.cut;
	return at;
}

int dns_parse(const uint8_t *msg, size_t len, struct dns_message *ret)
{
	struct dns_message m = {0};
	uint16_t flags;
	size_t at;

	if (len < HEADER_BYTES)
		return -EBADMSG;
	flags = u16(msg + 2);
	if ((flags >> 11 & 0xf) > OPCODE_MAX)
		return -EBADMSG;
	m.id = u16(msg);
	m.response = flags & QR_BIT;
	m.rcode = m.response ? flags & RCODE_MASK : 0;
	m.answers = u16(msg + 6);
	if (u16(msg + 4) > 0) { /* questions; more than one is not in use (RFC 9619) */
		at = get_name(msg, len, HEADER_BYTES, &m);
		m.damaged = at == 0 || len - at < 4;
		if (m.damaged)
			m.qname[0] = '\0';
		else
			m.qtype = u16(msg + at);
	}
	if (!m.response && !m.qname[0])
		memcpy(m.qname, DNS_NAME_UNREAD, sizeof(DNS_NAME_UNREAD));
	*ret = m;
	return 0;
}

/* --- in TCP, two bytes of length before each message ------------------------------ */

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* What head is to hold of the current message before that is given out. */
static size_t head_goal(const struct dns_stream *s)
{
	return s->n_head < 2 ? 2 : smaller(2 + (size_t)u16(s->head), DNS_HEAD_BYTES);
}

static void give_out(struct dns_stream *s, dns_message_fn fn, void *arg)
{
	s->skip = (uint32_t)(2 + u16(s->head) - s->n_head);
	fn(s->head + 2, s->n_head - 2u, arg);
	s->n_head = 0;
}

static void feed(struct dns_stream *s, const uint8_t *data, size_t len, dns_message_fn fn,
		 void *arg)
{
	while (len > 0) {
		size_t n = smaller(len, s->skip ? s->skip : head_goal(s) - s->n_head);

		if (s->skip) {
			s->skip -= (uint32_t)n;
		} else {
			memcpy(s->head + s->n_head, data, n);
			s->n_head = (uint16_t)(s->n_head + n);
		}
		data += n;
		len -= n;
		if (s->n_head >= 2 && s->n_head == head_goal(s))
			give_out(s, fn, arg);
	}
}

/* Bytes that we shall not see: fine inside of what is skipped anyway. */
static void feed_unseen(struct dns_stream *s, size_t len)
{
	if (s->skip >= len) {
		s->skip -= (uint32_t)len;
		return;
	}
	s->started = false;
	s->skip = 0;
	s->n_head = 0;
}

void dns_stream_feed(struct dns_stream *s, uint32_t seq, const uint8_t *data, size_t len,
		     size_t whole, dns_message_fn fn, void *arg)
{
	uint32_t end = seq + (uint32_t)whole;
	size_t old;

	if (s->started && (int32_t)(seq - s->next_seq) > 0) {
		feed_unseen(s, seq - s->next_seq);
		s->next_seq = seq;
	}
	old = s->started ? s->next_seq - seq : 0;
	if (old >= whole && old > 0)
		return; /* sent again */
	s->started = true;
	s->next_seq = end;
	if (old < len)
		feed(s, data + old, len - old, fn, arg);
	if (len < whole)
		feed_unseen(s, whole - (old > len ? old : len));
}
