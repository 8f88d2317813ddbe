// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/names/hello.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/flow_abi.h"
#include "probe/names/assembly.h"
#include "probe/names/quic.h"
#include "proto/flow_record.h"

static void release(struct hellos *all, struct hello *h)
{
	if (!h->assembly)
		return;
	free(h->assembly);
	h->assembly = NULL;
	all->n_assemblies--;
}

static void finish(struct hellos *all, struct hello *h)
{
	if (h->found.cut)
		all->counters[NAMES_TEXT_CUT]++;
	h->done = true;
	release(all, h);
}

static void finish_early(struct hellos *all, struct hello *h, enum names_counter why)
{
	all->counters[why]++;
	finish(all, h);
}

/* A place to put the hello together, or the hello is done with what was found. */
static bool have_assembly(struct hellos *all, struct hello *h)
{
	if (h->assembly)
		return true;
	if (all->n_assemblies < HELLO_ASSEMBLIES_MAX)
		h->assembly = malloc(sizeof(*h->assembly));
	if (!h->assembly) {
		finish_early(all, h, NAMES_HELLO_NO_ROOM);
		return false;
	}
	h->assembly->n = 0; /* the data is only read where it was written */
	all->n_assemblies++;
	return true;
}

/* What parsing gave; -EAGAIN waits for more. */
static void settle(struct hellos *all, struct hello *h, int err, enum names_counter malformed)
{
	if (!err)
		finish(all, h);
	else if (err != -EAGAIN)
		finish_early(all, h, malformed);
}

/* --- TCP ------------------------------------------------------------------------- */

/* The first packet: most often it is the whole hello. */
static void start_tls(struct hellos *all, struct hello *h, const struct flow_payload *p)
{
	h->started = true;
	h->first_seq = p->tcp_seq;
	h->dir = p->dir;
	settle(all, h, tls_parse_records(p->data, p->len, &h->found), NAMES_TLS_MALFORMED);
	if (!h->done && p->len < p->whole)
		finish_early(all, h, NAMES_HELLO_PARTIAL); /* the rest was not copied */
}

void hello_tls(struct hellos *all, struct hello *h, const struct flow_payload *p)
{
	size_t prefix;
	int err;

	if (h->done || (h->started && p->dir != h->dir))
		return;
	if (!h->started)
		start_tls(all, h, p);
	if (h->done || !have_assembly(all, h))
		return;
	err = assembly_add(h->assembly, p->tcp_seq - h->first_seq, p->data, p->len);
	prefix = assembly_prefix(h->assembly);
	if (!err)
		err = tls_parse_records(h->assembly->data, prefix, &h->found);
	settle(all, h, err, NAMES_TLS_MALFORMED);
}

/* --- QUIC ------------------------------------------------------------------------ */

/* Takes what is in one Initial. Returns false when it is not the client's, or not for us. */
static bool take_initial(struct hellos *all, struct hello *h, const struct quic_initial *initial)
{
	uint8_t plain[QUIC_PLAIN_MAX];
	size_t len;

	if (quic_decrypt(initial, plain, &len) != 0 || !have_assembly(all, h))
		return false;
	settle(all, h, quic_collect(plain, len, h->assembly) ?: -EAGAIN, NAMES_QUIC_MALFORMED);
	return true;
}

void hello_quic(struct hellos *all, struct hello *h, const struct flow_payload *p)
{
	struct quic_initial initial;
	bool taken = false;
	size_t at = 0;
	int err;

	if (h->done)
		return;
	while (!h->done && at < p->len) {
		err = quic_parse(p->data + at, p->len - at, &initial);
		if (err == -EBADMSG && at == 0)
			all->counters[NAMES_QUIC_MALFORMED]++;
		if (err)
			break;
		h->quic_version = initial.version;
		taken |= take_initial(all, h, &initial);
		at += initial.len;
	}
	if (h->done || !taken)
		return;
	settle(all, h, tls_parse_hello(h->assembly->data, assembly_prefix(h->assembly), &h->found),
	       NAMES_QUIC_MALFORMED);
}

/* --- the end --------------------------------------------------------------------- */

void hello_tell(const struct hello *h, struct flow_record *r)
{
	memcpy(r->tls_sni, h->found.sni, sizeof(r->tls_sni));
	memcpy(r->tls_alpn, h->found.alpn, sizeof(r->tls_alpn));
	r->quic_version = h->quic_version;
}

void hello_forget(struct hellos *all, struct hello *h)
{
	if (h->assembly)
		all->counters[NAMES_HELLO_PARTIAL]++;
	release(all, h);
}
