/* One stream of a tunnel as a test sees it: sends numbered bytes, checks those that come, and notes how it ended. */
#ifndef TPORT_TEST_TUNNEL_PEER_H
#define TPORT_TEST_TUNNEL_PEER_H

#include "base/mem.h"
#include "tunnel/tunnel_inner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
/* cmocka wants the headers above. */
#include <cmocka.h>

/* Zeroed, with to_send set, before its first use. */
struct peer {
    struct tunnel_stream *stream;
    size_t to_send;
    size_t sent;
    size_t got;
    uint32_t seed_out, seed_in;
    bool broken; /* bytes came out of order */
    bool slow;   /* does not consume */
    bool echo_end;
    bool eof;
    bool accepted;
    bool closed;
    enum close_reason reason;
    char text[256];
};

static uint8_t next_byte(uint32_t *seed)
{
    *seed = *seed * 1103515245 + 12345;
    return (uint8_t)(*seed >> 16);
}

static void peer_push(struct peer *peer)
{
    uint8_t block[40000];
    while (peer->sent < peer->to_send) {
        size_t size = peer->to_send - peer->sent < sizeof(block) ? peer->to_send - peer->sent : sizeof(block);
        uint32_t seed = peer->seed_out;
        for (size_t i = 0; i < size; i++) {
            block[i] = next_byte(&seed);
        }
        size_t took = tunnel_stream_write(peer->stream, block, size);
        for (size_t i = 0; i < took; i++) {
            (void)next_byte(&peer->seed_out);
        }
        peer->sent += took;
        if (took < size) {
            return;
        }
    }
    tunnel_stream_shutdown(peer->stream);
}

static void peer_on_accept(void *ctx)
{
    ((struct peer *)ctx)->accepted = true;
}

static void peer_on_data(void *ctx, const uint8_t *data, size_t size)
{
    struct peer *peer = ctx;
    for (size_t i = 0; i < size; i++) {
        peer->broken |= data[i] != next_byte(&peer->seed_in);
    }
    peer->got += size;
    if (!peer->slow) {
        tunnel_stream_consume(peer->stream, size);
    }
}

static void peer_on_eof(void *ctx)
{
    struct peer *peer = ctx;
    peer->eof = true;
    if (peer->echo_end) {
        peer_push(peer);
    }
}

static void peer_on_writable(void *ctx)
{
    peer_push(ctx);
}

static void peer_on_close(void *ctx, enum close_reason reason, const char *text)
{
    struct peer *peer = ctx;
    assert_false(peer->closed);
    peer->closed = true;
    peer->reason = reason;
    (void)snprintf(peer->text, sizeof(peer->text), "%s", text);
}

static const struct tunnel_stream_events peer_events = {
    .on_accept = peer_on_accept,
    .on_data = peer_on_data,
    .on_eof = peer_on_eof,
    .on_writable = peer_on_writable,
    .on_close = peer_on_close,
};

#endif
