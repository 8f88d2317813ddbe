/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "proto/enroll.h"

#include <string.h>

#include "proto/codec.h"
#include "proto/frame.h"
#include "weir.pb-c.h"

int enroll_pack(const struct enroll *e, struct packed *ret)
{
	Weir__Enroll m = WEIR__ENROLL__INIT;

	m.secret = (ProtobufCBinaryData){JOIN_SECRET_BYTES, (uint8_t *)e->secret};
	m.host_name = (char *)e->host_name;
	m.build = (char *)e->build;
	m.kernel = (char *)e->kernel;
	m.new_key = (ProtobufCBinaryData){e->rotate ? JOIN_KEY_BYTES : 0, (uint8_t *)e->new_key};
	m.probe_id = (ProtobufCBinaryData){e->has_id ? PROBE_ID_BYTES : 0, (uint8_t *)e->probe_id};
	return codec_seal(&m.base, FRAME_ENROLL, ret);
}

static const char *read_enroll(const Weir__Enroll *m, struct enroll *ret)
{
	if (!codec_bytes(&m->secret, ret->secret, JOIN_SECRET_BYTES))
		return "secret is not 16 bytes";
	if (!codec_text(m->host_name, ret->host_name, sizeof(ret->host_name)) ||
	    ret->host_name[0] == '\0')
		return "bad host_name";
	if (!codec_text(m->build, ret->build, sizeof(ret->build)))
		return "bad build";
	if (!codec_text(m->kernel, ret->kernel, sizeof(ret->kernel)))
		return "bad kernel";
	ret->rotate = m->new_key.len > 0;
	if (ret->rotate && !codec_bytes(&m->new_key, ret->new_key, JOIN_KEY_BYTES))
		return "new_key is not 32 bytes";
	ret->has_id = m->probe_id.len > 0;
	if (ret->has_id && !codec_bytes(&m->probe_id, ret->probe_id, PROBE_ID_BYTES))
		return "probe_id is not 16 bytes";
	return NULL;
}

int enroll_unpack(const uint8_t *body, size_t len, struct enroll *ret, const char **ret_why)
{
	struct enroll e = {0};
	ProtobufCMessage *m;
	struct codec codec;
	const char *why;
	int err;

	codec_init(&codec);
	err = codec_decode(&codec, &weir__enroll__descriptor, body, len, &m, ret_why);
	if (err)
		return err;
	why = read_enroll((const Weir__Enroll *)m, &e);
	codec_free_message(&codec, m);
	if (why)
		return codec_refuse(why, ret_why);
	*ret = e;
	return 0;
}

int enroll_result_pack(const struct enroll_result *r, struct packed *ret)
{
	Weir__EnrollResult m = WEIR__ENROLL_RESULT__INIT;

	m.status = (Weir__EnrollStatus)r->status;
	m.probe_id = (ProtobufCBinaryData){PROBE_ID_BYTES, (uint8_t *)r->probe_id};
	m.text = (char *)r->text;
	return codec_seal(&m.base, FRAME_ENROLL_RESULT, ret);
}

static const char *read_result(const Weir__EnrollResult *m, struct enroll_result *ret)
{
	if ((unsigned)m->status > ENROLL_RETRY)
		return "unknown status";
	ret->status = (enum enroll_status)m->status;
	if (!codec_bytes(&m->probe_id, ret->probe_id, PROBE_ID_BYTES))
		return "probe_id is not 16 bytes";
	return codec_text(m->text, ret->text, sizeof(ret->text)) ? NULL : "bad text";
}

int enroll_result_unpack(const uint8_t *body, size_t len, struct enroll_result *ret,
			 const char **ret_why)
{
	struct enroll_result r = {0};
	ProtobufCMessage *m;
	struct codec codec;
	const char *why;
	int err;

	codec_init(&codec);
	err = codec_decode(&codec, &weir__enroll_result__descriptor, body, len, &m, ret_why);
	if (err)
		return err;
	why = read_result((const Weir__EnrollResult *)m, &r);
	codec_free_message(&codec, m);
	if (why)
		return codec_refuse(why, ret_why);
	*ret = r;
	return 0;
}
