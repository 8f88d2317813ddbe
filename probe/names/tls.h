/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tls.h - the names in a TLS ClientHello: server name (RFC 6066 3) and the
 * application protocols offered (RFC 7301). With Encrypted ClientHello the
 * name is that of the outer hello.
 *
 * Threads: no state; any. Memory: the caller's.
 */
#ifndef WEIR_PROBE_NAMES_TLS_H
#define WEIR_PROBE_NAMES_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/flow_record.h"

#define TLS_HELLO_MAX 16384 /* bytes of a hello that we follow, record headers included */

struct tls_hello {
	char sni[TLS_SNI_MAX];	 /* as wire_text.h writes it; "" none */
	char alpn[TLS_ALPN_MAX]; /* in the client's order, by comma; a comma within is \, */
	bool cut;		 /* something did not fit */
};

/*
 * A ClientHello as a handshake message (RFC 8446 4.1.2), what QUIC carries.
 *
 * Returns 0; -EAGAIN when it goes on behind len, *ret then has what was found
 * up to there; -EBADMSG when it is none, contradicts itself, or would not end
 * within TLS_HELLO_MAX.
 */
int tls_parse_hello(const uint8_t *msg, size_t len, struct tls_hello *ret);

/* The same in TLS records (RFC 8446 5.1), over which it may be spread: what TCP carries. */
int tls_parse_records(const uint8_t *stream, size_t len, struct tls_hello *ret);

#endif /* WEIR_PROBE_NAMES_TLS_H */
