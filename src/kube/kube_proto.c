#include "kube/kube_proto.h"

static uint64_t varint(struct rd *rd)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = rd_u8(rd);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    rd->failed = true;
    return 0;
}

bool kube_proto_next(struct rd *rd, struct kube_proto_field *ret_field)
{
    struct kube_proto_field field = {.raw = rd->at};
    size_t before = rd->left;
    uint64_t tag;
    if (rd->left == 0 || rd->failed)
        return false;
    tag = varint(rd);
    field.wire_type = (unsigned)(tag & 7);
    field.number = (uint32_t)(tag >> 3);
    if (tag >> 35 || field.number == 0)
        rd->failed = true;
    if (field.wire_type == 0) {
        (void)varint(rd);
    } else if (field.wire_type == 1) {
        (void)rd_u64(rd);
    } else if (field.wire_type == 5) {
        (void)rd_u32(rd);
    } else if (field.wire_type == 2) {
        uint64_t size = varint(rd);
        if (size > rd->left)
            rd->failed = true;
        else
            field.data = rd_bytes(rd, (size_t)size);
        field.size = (size_t)size;
    } else {
        rd->failed = true; /* groups: nobody sends them */
    }
    if (rd->failed)
        return false;
    field.raw_size = before - rd->left;
    *ret_field = field;
    return true;
}

bool kube_proto_only(const uint8_t *data, size_t size, uint32_t number, struct kube_proto_field *ret_field)
{
    struct rd rd;
    struct kube_proto_field field;
    size_t found = 0;
    rd_init(&rd, data, size);
    while (kube_proto_next(&rd, &field)) {
        if (field.number != number)
            continue;
        if (field.wire_type != 2 || found++ > 0)
            return false;
        *ret_field = field;
    }
    return rd_ok(&rd) && found == 1;
}

static void put_varint(struct buf *out, uint64_t value)
{
    while (value >= 0x80) {
        wr_u8(out, (uint8_t)(value | 0x80));
        value >>= 7;
    }
    wr_u8(out, (uint8_t)value);
}

enum tp_err kube_proto_put(struct buf *out, uint32_t number, const void *data, size_t size)
{
    put_varint(out, (uint64_t)number << 3 | 2);
    put_varint(out, size);
    wr_bytes(out, data, size);
    return out->failed ? TP_TOO_LARGE : TP_OK;
}
