/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* names_counter.h - what probe/names/names.c and its parts could not make use of, by reason. */
#ifndef WEIR_PROBE_NAMES_NAMES_COUNTER_H
#define WEIR_PROBE_NAMES_NAMES_COUNTER_H

enum names_counter {
	NAMES_TABLE_FULL,     /* payloads of flows that found no room */
	NAMES_TEXT_CUT,	      /* names longer than their column */
	NAMES_DNS_MALFORMED,  /* messages */
	NAMES_DNS_UNTRACKED,  /* queries that nobody waits for an answer to: too many at once */
	NAMES_TLS_MALFORMED,  /* hellos that contradict themselves or pass TLS_HELLO_MAX */
	NAMES_QUIC_MALFORMED, /* Initial packets, or the hello in them */
	NAMES_HELLO_PARTIAL,  /* hellos of which some bytes never came to us */
	NAMES_HELLO_NO_ROOM,  /* hellos in several packets, beyond those that we put together */
	NAMES_COUNTER_MAX,
};

#define NAMES_COUNTER_NAMES                                                                        \
	{                                                                                          \
		"names_table_full", "names_text_cut", "dns_malformed", "dns_untracked",            \
			"tls_malformed", "quic_malformed", "hello_partial", "hello_no_room"        \
	}

#endif /* WEIR_PROBE_NAMES_NAMES_COUNTER_H */
