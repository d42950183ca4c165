/* Protocol buffers as far as Kubernetes' envelope and metadata need them: fields with a length, one after another. */
#ifndef KUBE_PROTO_H
#define KUBE_PROTO_H

#include "base/wire.h"

/* One field: its bytes as they stand (tag included), and for wire type 2 what is in it. */
struct kube_proto_field {
    uint32_t number;
    unsigned wire_type;
    const uint8_t *raw;
    size_t raw_size;
    const uint8_t *data; /* wire type 2 only */
    size_t size;
};

/* Reads the next field of a message. False at its end, and when it is broken (then rd is failed). */
bool kube_proto_next(struct rd *rd, struct kube_proto_field *ret_field) TP_MUST;
/* The first field of that number and wire type 2 in a message; false when there is none, more than one, or the message is
 * broken: a second one would be merged or would win, and nothing here needs that. */
bool kube_proto_only(const uint8_t *data, size_t size, uint32_t number, struct kube_proto_field *ret_field) TP_MUST;
/* Appends a field of wire type 2. */
enum tp_err kube_proto_put(struct buf *out, uint32_t number, const void *data, size_t size) TP_MUST;

#endif
