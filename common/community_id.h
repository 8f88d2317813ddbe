/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * community_id.h - Community ID version 1, seed 0: the text by which other
 * tools (Zeek, Suricata, Wireshark, ...) know the same flow, whichever end they
 * call the source. https://github.com/corelight/community-id-spec
 *
 * Threads: no state; any.
 */
#ifndef WEIR_COMMON_COMMUNITY_ID_H
#define WEIR_COMMON_COMMUNITY_ID_H

#include <stdint.h>

#define COMMUNITY_ID_MAX 31 /* "1:", 28 characters of base64, NUL */

/*
 * Writes the text to ret and returns ret. Addresses as in common/addr.h.
 * TCP, UDP, SCTP: src_part and dst_part are the ports. ICMP, ICMPv6: the type
 * and the code of what src sends. Other protocols: neither counts.
 */
const char *community_id(const uint8_t src_addr[16], const uint8_t dst_addr[16], uint8_t proto,
			 uint16_t src_part, uint16_t dst_part, char ret[COMMUNITY_ID_MAX]);

#endif /* WEIR_COMMON_COMMUNITY_ID_H */
