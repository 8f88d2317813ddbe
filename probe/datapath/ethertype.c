// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/datapath/ethertype.h"

#include <stdio.h>

#include "bpf/flow_abi.h"

/* https://www.iana.org/assignments/ieee-802-numbers */
static const struct {
	uint32_t type;
	const char *name;
} names[] = {
	{FLOW_ETHERTYPE_LLC, "llc"},
	{FLOW_ETHERTYPE_OTHER, "other"},
	{0x0806, "arp"},
	{0x0842, "wake_on_lan"},
	{0x2000, "cdp"},
	{0x22f0, "avtp"},
	{0x22f3, "trill"},
	{0x4305, "batman"},
	{0x8035, "rarp"},
	{0x809b, "appletalk"},
	{0x80f3, "aarp"},
	{0x8100, "vlan"},
	{0x8137, "ipx"},
	{0x8808, "pause"},
	{0x8809, "slow"},
	{0x8847, "mpls"},
	{0x8848, "mpls_mc"},
	{0x8863, "pppoe_disc"},
	{0x8864, "pppoe"},
	{0x888e, "eapol"},
	{0x8892, "profinet"},
	{0x88a4, "ethercat"},
	{0x88a8, "vlan_s"},
	{0x88b8, "goose"},
	{0x88cc, "lldp"},
	{0x88e1, "homeplug"},
	{0x88e5, "macsec"},
	{0x88f7, "ptp"},
	{0x8902, "cfm"},
	{0x8906, "fcoe"},
	{0x8915, "roce"},
	{0x9000, "loopback"},
};

const char *ethertype_name(uint32_t type, char buf[ETHERTYPE_NAME_BYTES])
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].type == type)
			return names[i].name;
	(void)snprintf(buf, ETHERTYPE_NAME_BYTES, "0x%04x", type);
	return buf;
}

bool ethertype_is_named(struct ethertype_named *named, uint32_t type)
{
	for (size_t i = 0; i < named->n; i++)
		if (named->type[i] == type)
			return true;
	if (type == FLOW_ETHERTYPE_OTHER || named->n == ETHERTYPE_NAMED_MAX)
		return false;
	named->type[named->n++] = type;
	return true;
}
