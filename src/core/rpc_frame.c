#include "core/rpc.h"

#include "base/wire.h"

#define FLAG_FD 1u

enum tp_err rpc_frame_decode(const uint8_t header[RPC_HEADER_SIZE], struct rpc_frame *ret_frame)
{
    struct rd rd;
    uint8_t type;
    uint8_t flags;
    rd_init(&rd, header, RPC_HEADER_SIZE);
    ret_frame->size = rd_u32(&rd);
    type = rd_u8(&rd);
    flags = rd_u8(&rd);
    if (rd_u16(&rd) != 0 || type < RPC_REQUEST || type > RPC_EVENT || flags > FLAG_FD ||
        ret_frame->size > RPC_FRAME_MAX)
        return TP_PROTOCOL;
    ret_frame->id = rd_u32(&rd);
    ret_frame->type = (enum rpc_frame_type)type;
    ret_frame->has_fd = flags & FLAG_FD;
    if ((type == RPC_EVENT) != (ret_frame->id == 0))
        return TP_PROTOCOL;
    return TP_OK;
}

void rpc_frame_encode(const struct rpc_frame *frame, uint8_t header[RPC_HEADER_SIZE])
{
    const uint8_t bytes[RPC_HEADER_SIZE] = {
        (uint8_t)(frame->size >> 24),
        (uint8_t)(frame->size >> 16),
        (uint8_t)(frame->size >> 8),
        (uint8_t)frame->size,
        (uint8_t)frame->type,
        frame->has_fd ? FLAG_FD : 0,
        0,
        0,
        (uint8_t)(frame->id >> 24),
        (uint8_t)(frame->id >> 16),
        (uint8_t)(frame->id >> 8),
        (uint8_t)frame->id,
    };
    for (size_t i = 0; i < RPC_HEADER_SIZE; i++)
        header[i] = bytes[i];
}
