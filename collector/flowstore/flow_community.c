// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/flow_community.h"

void flow_community_columns(struct flow_columns *columns)
{
	static const enum flow_column made_from[] = {
		FLOW_COLUMN_src_addr,  FLOW_COLUMN_dst_addr,   FLOW_COLUMN_src_port,
		FLOW_COLUMN_dst_port,  FLOW_COLUMN_proto,      FLOW_COLUMN_icmp_type,
		FLOW_COLUMN_icmp_code, FLOW_COLUMN_end_reason,
	};

	for (size_t i = 0; i < sizeof(made_from) / sizeof(made_from[0]); i++)
		flow_columns_add(columns, made_from[i]);
}

const char *flow_community_id(const struct flow_block *b, size_t i, char ret[COMMUNITY_ID_MAX])
{
	uint32_t proto = FLOW_COL_U32(b, proto)[i];
	bool icmp = proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
	const uint32_t *src_part = icmp ? FLOW_COL_U32(b, icmp_type) : FLOW_COL_U32(b, src_port);
	const uint32_t *dst_part = icmp ? FLOW_COL_U32(b, icmp_code) : FLOW_COL_U32(b, dst_port);

	if (FLOW_COL_U32(b, end_reason)[i] == FLOW_END_NO_RESOURCES)
		return NULL;
	return community_id(b->addrs[FLOW_COL_U32(b, src_addr)[i]],
			    b->addrs[FLOW_COL_U32(b, dst_addr)[i]], (uint8_t)proto,
			    (uint16_t)src_part[i], (uint16_t)dst_part[i], ret);
}
