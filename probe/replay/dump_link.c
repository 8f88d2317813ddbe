// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/replay/dump_link.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <net/ethernet.h>

#define ETHERTYPE_MPLS	0x8847
#define ETHERTYPE_PPPOE 0x8864

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)be16(p) << 16 | be16(p + 2);
}

static uint16_t le16(const uint8_t *p)
{
	return (uint16_t)(p[1] << 8 | p[0]);
}

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)le16(p + 2) << 16 | le16(p);
}

/* 2 is IPv4 everywhere; IPv6 is 24 on NetBSD and OpenBSD, 26 on Solaris, 28 on FreeBSD, 30 on
 * macOS, 10 on Linux. */
static uint16_t of_family(uint32_t family)
{
	switch (family) {
	case 2:
		return ETHERTYPE_IP;
	case 10:
	case 24:
	case 26:
	case 28:
	case 30:
		return ETHERTYPE_IPV6;
	default:
		return DUMP_LINK_UNKNOWN;
	}
}

/* --- the IP version or a family says it ----------------------------------------- */

static int link_raw(const uint8_t *p, size_t len, uint16_t *ret)
{
	if (len < 1)
		return -1;
	*ret = p[0] >> 4 == 4 ? ETHERTYPE_IP : p[0] >> 4 == 6 ? ETHERTYPE_IPV6 : DUMP_LINK_UNKNOWN;
	return 0;
}

static int link_ipv6(const uint8_t *p, size_t len, uint16_t *ret)
{
	(void)p;
	*ret = ETHERTYPE_IPV6;
	return len ? 0 : -1;
}

/* BSD loopback: the family as a 32-bit number in either byte order. */
static int link_null(const uint8_t *p, size_t len, uint16_t *ret)
{
	if (len < 4)
		return -1;
	*ret = of_family(p[0] && !p[1] ? p[0] : p[3]);
	if (!*ret && (!p[0] || !p[3])) /* some write an ethertype */
		*ret = (uint16_t)(le32(p) <= 0xffff ? le32(p) : be32(p));
	return 4;
}

/* OpenBSD's packet filter: the header's length, the family. */
static int link_pflog(const uint8_t *p, size_t len, uint16_t *ret)
{
	size_t head = len < 2 ? 2 : ((size_t)p[0] + 3) / 4 * 4;

	if (len < head)
		return -1;
	*ret = of_family(p[1]);
	return (int)head;
}

/* OpenBSD's IPsec interface: family, SPI, flags, each 32 bits. */
static int link_enc(const uint8_t *p, size_t len, uint16_t *ret)
{
	if (len < 12)
		return -1;
	*ret = of_family(p[0] ? p[0] : p[3]);
	return 12;
}

/* Solaris: version, family, and more. */
static int link_ipnet(const uint8_t *p, size_t len, uint16_t *ret)
{
	if (len < 24)
		return -1;
	*ret = of_family(p[1]);
	return 24;
}

/* --- a protocol number in it ------------------------------------------------------ */

/* Linux cooked: packet type, ARPHRD, address of 2 + 8 bytes, protocol. */
static int link_sll(const uint8_t *p, size_t len, uint16_t *ret)
{
	if (len < 16)
		return -1;
	*ret = be16(p + 14);
	return 16;
}

/* Linux cooked, version 2: protocol first. */
static int link_sll2(const uint8_t *p, size_t len, uint16_t *ret)
{
	if (len < 20)
		return -1;
	*ret = be16(p);
	return 20;
}

/* PPP (RFC 1661, RFC 1662): address and control may be there; protocol. */
static int link_ppp(const uint8_t *p, size_t len, uint16_t *ret)
{
	int at = len >= 2 && p[0] == 0xff && p[1] == 0x03 ? 2 : 0;

	uint16_t proto;
	int n;

	if (len < (size_t)at + 2)
		return -1;
	n = p[at] & 1 ? 1 : 2; /* the zero before it may be left out */
	proto = n == 1 ? p[at] : be16(p + at);
	/* RFC 1332, RFC 5072, RFC 3032; a Cisco HDLC frame on a line that is called PPP */
	switch (proto) {
	case 0x0021:
		*ret = ETHERTYPE_IP;
		break;
	case 0x0057:
		*ret = ETHERTYPE_IPV6;
		break;
	case 0x0281:
		*ret = ETHERTYPE_MPLS;
		break;
	default:
		*ret = DUMP_LINK_UNKNOWN;
	}
	return at + n;
}

/* Cisco HDLC: address, 0, ethertype. */
static int link_chdlc(const uint8_t *p, size_t len, uint16_t *ret)
{
	if (len < 4)
		return -1;
	*ret = be16(p + 2);
	return 4;
}

/* PPP with HDLC framing, or Cisco HDLC (RFC 1662; its address is 0x0f or 0x8f). */
static int link_hdlc(const uint8_t *p, size_t len, uint16_t *ret)
{
	return len >= 1 && (p[0] == 0x0f || p[0] == 0x8f) ? link_chdlc(p, len, ret)
							  : link_ppp(p, len, ret);
}

static int link_pppoe(const uint8_t *p, size_t len, uint16_t *ret)
{
	(void)p;
	*ret = ETHERTYPE_PPPOE;
	return len ? 0 : -1;
}

static int link_mpls(const uint8_t *p, size_t len, uint16_t *ret)
{
	(void)p;
	*ret = ETHERTYPE_MPLS;
	return len ? 0 : -1;
}

/* IP over InfiniBand (RFC 4391 6), behind a global routing header of 40 bytes. */
static int link_ipoib(const uint8_t *p, size_t len, uint16_t *ret)
{
	if (len < 44)
		return -1;
	*ret = be16(p + 40);
	return 44;
}

/* Linux ARCNET: ends, offset, type; then by RFC 1201 a split flag and a number, or nothing. */
static int link_arcnet(const uint8_t *p, size_t len, uint16_t *ret)
{
	bool rfc1051;

	if (len < 8)
		return -1;
	rfc1051 = p[4] == 0xf0 || p[4] == 0xf1;
	switch (p[4]) {
	case 0xf0:
	case 0xd4:
		*ret = ETHERTYPE_IP;
		break;
	case 0xc4:
		*ret = ETHERTYPE_IPV6;
		break;
	case 0xf1:
	case 0xd5:
		*ret = ETHERTYPE_ARP;
		break;
	default:
		*ret = DUMP_LINK_UNKNOWN;
	}
	return rfc1051 ? 5 : p[5] == 0xff ? 12 : 8;
}

/* FDDI: frame control, ends; LLC in frames of that kind. */
static int link_fddi(const uint8_t *p, size_t len, uint16_t *ret)
{
	if (len < 13)
		return -1;
	*ret = (p[0] & 0xf0) == 0x50 ? DUMP_LINK_LLC : DUMP_LINK_UNKNOWN;
	return 13;
}

/* Bridged Ethernet behind LLC/SNAP (RFC 2684 5.2), or whatever LLC says. */
static int link_atm(const uint8_t *p, size_t len, uint16_t *ret)
{
	if (len < 1)
		return -1;
	if (p[0] >> 4 == 4)
		return link_raw(p, len, ret);
	*ret = DUMP_LINK_LLC;
	if (len < 10 || memcmp(p, "\xaa\xaa\x03\x00\x80\xc2\x00", 7) != 0 ||
	    (p[7] != 1 && p[7] != 7))
		return 0;
	*ret = DUMP_LINK_ETHERNET;
	return 10;
}

/* Frame Relay (RFC 2427): address, UI, perhaps a zero, NLPID. Cisco's: address, ethertype. */
static int link_frame_relay(const uint8_t *p, size_t len, uint16_t *ret)
{
	size_t at = 0;

	while (at < 4 && at < len && !(p[at] & 1))
		at++;
	at++;
	if (len < at + 2)
		return -1;
	if (p[at] != 0x03) {
		*ret = be16(p + at);
		return (int)at + 2;
	}
	at += p[at + 1] ? 1 : 2;
	if (len < at + 1)
		return -1;
	*ret = p[at] == 0xcc ? ETHERTYPE_IP : p[at] == 0x8e ? ETHERTYPE_IPV6 : DUMP_LINK_UNKNOWN;
	if (p[at] != 0x80 || len < at + 6)
		return (int)at + 1;
	if (memcmp(p + at + 1, "\0\0\0", 3) == 0)
		*ret = be16(p + at + 4);
	else if (memcmp(p + at + 1, "\0\x80\xc2\0", 4) == 0 && (p[at + 5] == 1 || p[at + 5] == 7))
		*ret = DUMP_LINK_ETHERNET;
	return (int)at + 6;
}

/* Linux netfilter log: family, version, resource; then attributes, one of them the packet. */
static int link_nflog(const uint8_t *p, size_t len, uint16_t *ret)
{
	size_t at = 4, n;

	while (at + 4 <= len) {
		n = le16(p + at);
		if ((le16(p + at + 2) & 0x7fff) == 9) {
			*ret = of_family(p[0]);
			return (int)at + 4;
		}
		if (n < 4)
			break;
		at += (n + 3) / 4 * 4;
	}
	return -1;
}

/* --- IEEE 802.11 -------------------------------------------------------------------- */

/* padded: the header is filled up to a multiple of 4 bytes. */
static int read_80211(const uint8_t *p, size_t len, bool padded, uint16_t *ret)
{
	uint16_t control;
	size_t head = 24;
	bool qos;

	*ret = DUMP_LINK_UNKNOWN;
	if (len < 2)
		return -1;
	control = le16(p);
	if ((control & 0x000c) != 0x0008 || control & 0x4040 || len < head + 2)
		return 0; /* management, control, no data, or encrypted */
	if (le16(p + 22) & 0xf)
		return 0; /* a later fragment */
	qos = control & 0x0080;
	head += (control & 0x0300) == 0x0300 ? 6 : 0;
	if (len < head + 2)
		return 0;
	*ret = qos && p[head] & 0x80 ? DUMP_LINK_ETHERNET /* so begins an A-MSDU */
				     : DUMP_LINK_LLC;
	head += qos ? 2 : 0;
	head += qos && control & 0x8000 ? 4 : 0;
	if (padded)
		head = (head + 3) / 4 * 4;
	if (len >= head)
		return (int)head;
	*ret = DUMP_LINK_UNKNOWN;
	return 0;
}

static int link_80211(const uint8_t *p, size_t len, uint16_t *ret)
{
	return read_80211(p, len, false, ret);
}

/* Behind skip bytes. */
static int behind(size_t skip, const uint8_t *p, size_t len, bool padded, uint16_t *ret)
{
	int head;

	if (skip > len)
		return -1;
	head = read_80211(p + skip, len - skip, padded, ret);
	return head < 0 ? head : (int)skip + head;
}

/* https://www.radiotap.org: version, length, what is present (bit 31: and more of it). */
static bool radiotap_says_padded(const uint8_t *p, size_t len)
{
	size_t at = 8;

	for (size_t word = 4; le32(p + word) & 1u << 31; word += 4, at += 4)
		if (word + 8 > len)
			return false;
	if (le32(p + 4) & 1) /* time */
		at = (at + 7) / 8 * 8 + 8;
	return le32(p + 4) & 2 && at < len && p[at] & 0x20;
}

static int link_radiotap(const uint8_t *p, size_t len, uint16_t *ret)
{
	size_t skip;

	if (len < 8)
		return -1;
	skip = le16(p + 2);
	if (skip < 8 || skip > len)
		return -1;
	return behind(skip, p, len, radiotap_says_padded(p, skip), ret);
}

/* Prism's or AVS's, told by AVS's magic number; the length follows. */
static int link_prism(const uint8_t *p, size_t len, uint16_t *ret)
{
	if (len < 8)
		return -1;
	return behind(be32(p) >> 4 == 0x8021100 ? be32(p + 4) : le32(p + 4), p, len, false, ret);
}

/* --- headers around another link ------------------------------------------------------ */

static int inner_link(uint32_t link, size_t skip, const uint8_t *p, size_t len, uint16_t *ret)
{
	dump_link_fn inner;
	int head;

	*ret = DUMP_LINK_UNKNOWN;
	if (skip > len)
		return -1;
	if (dump_link_find(link, &inner) != 0)
		return (int)skip;
	if (!inner) {
		*ret = DUMP_LINK_ETHERNET;
		return (int)skip;
	}
	head = inner(p + skip, len - skip, ret);
	return head < 0 ? head : (int)skip + head;
}

#define LINK_PPI   192
#define LINK_PKTAP 258

/* Per-packet information: version, flags, length, link. */
static int link_ppi(const uint8_t *p, size_t len, uint16_t *ret)
{
	if (len < 8)
		return -1;
	return le32(p + 4) == LINK_PPI ? -1 : inner_link(le32(p + 4), le16(p + 2), p, len, ret);
}

/* Apple: length, what follows, link. */
static int link_pktap(const uint8_t *p, size_t len, uint16_t *ret)
{
	if (len < 12)
		return -1;
	return le32(p + 8) == LINK_PKTAP || le32(p + 8) == 149
		       ? -1
		       : inner_link(le32(p + 8), le32(p), p, len, ret);
}

/* --- the table ------------------------------------------------------------------------ */

static const struct {
	uint32_t link;
	dump_link_fn read;
} links[] = {
	{0, link_null},		  {1, NULL}, /* Ethernet */
	{9, link_hdlc},		  {10, link_fddi},
	{11, link_atm},		  {12, link_raw},
	{14, link_raw},		  {19, link_atm},
	{50, link_hdlc},	  {51, link_pppoe},
	{100, link_atm},	  {101, link_raw},
	{104, link_chdlc},	  {105, link_80211},
	{106, link_atm},	  {107, link_frame_relay},
	{108, link_null},	  {109, link_enc},
	{113, link_sll},	  {117, link_pflog},
	{119, link_prism},	  {127, link_radiotap},
	{129, link_arcnet},	  {149, link_pktap},
	{163, link_prism},	  {LINK_PPI, link_ppi},
	{219, link_mpls},	  {226, link_ipnet},
	{228, link_raw},	  {229, link_ipv6},
	{239, link_nflog},	  {242, link_ipoib},
	{LINK_PKTAP, link_pktap}, {276, link_sll2},
};
#define N_LINKS (sizeof(links) / sizeof(*links))

int dump_link_find(uint32_t link, dump_link_fn *ret)
{
	for (size_t i = 0; i < N_LINKS; i++) {
		if (links[i].link == link) {
			*ret = links[i].read;
			return 0;
		}
	}
	return -EPROTONOSUPPORT;
}

const char *dump_link_name(uint32_t link)
{
	switch (link) {
	case 6:
		return "Token Ring";
	case 8:
		return "SLIP";
	case 187:
	case 201:
		return "Bluetooth";
	case 189:
	case 220:
	case 249:
		return "USB";
	case 195:
	case 215:
	case 230:
	case 283:
		return "IEEE 802.15.4";
	case 227:
		return "CAN";
	case 231:
		return "D-Bus";
	case 253:
		return "netlink";
	case 271:
		return "vsock";
	default:
		return NULL;
	}
}
