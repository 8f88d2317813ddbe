/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* traffic_sql.h - in SQL, which records count where no host has told its addresses: once/once.h. */
#ifndef WEIR_TESTS_UNIT_TRAFFIC_SQL_H
#define WEIR_TESTS_UNIT_TRAFFIC_SQL_H

/* A column of flows f: the ends of a record in order. NULL: it is never set aside. */
#define TRAFFIC_CONVERSATION                                                                       \
	" CASE WHEN f.end_reason = 'no_resources'"                                                 \
	"        OR f.src_addr GLOB '127.*' OR f.src_addr = '::1'"                                 \
	"      THEN NULL"                                                                          \
	"      WHEN (f.src_addr, f.src_port) < (f.dst_addr, f.dst_port)"                           \
	"      THEN f.src_addr || ' ' || f.src_port || ' ' || f.dst_addr || ' ' || f.dst_port"     \
	"      ELSE f.dst_addr || ' ' || f.dst_port || ' ' || f.src_addr || ' ' || f.src_port"     \
	"      END || ' ' || f.proto || ' ' || ifnull(f.icmp_id, '') AS conversation"

/*
 * Takes from the table traffic what another host tells, too: its columns host_id, conversation,
 * from_ms, to_ms and sent. slack_ms is a literal.
 */
#define TRAFFIC_SET_ASIDE(slack_ms)                                                                \
	"CREATE INDEX temp.traffic_by_conversation ON traffic"                                     \
	" (conversation, host_id, from_ms, to_ms, sent);"                                          \
	"DELETE FROM traffic AS copy WHERE EXISTS ("                                               \
	" SELECT 1 FROM traffic t"                                                                 \
	"  WHERE t.conversation = copy.conversation AND t.host_id <> copy.host_id"                 \
	"    AND t.from_ms <= copy.to_ms + " slack_ms " AND t.to_ms >= copy.from_ms - " slack_ms   \
	"    AND (t.sent, copy.host_id) > (copy.sent, t.host_id))"

#endif /* WEIR_TESTS_UNIT_TRAFFIC_SQL_H */
