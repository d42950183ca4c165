/*
 * A tunnel over a transport of memory. The input is a program: each step is either frames of the peer (raw bytes, or a frame
 * whose fields the input gives, so that long conversations are reached) or a call of the owner. Afterwards everything
 * that was promised exactly once must have happened once, and nothing be left.
 */
#include "base/mem.h"
#include "base/wire.h"
#include "tunnel/tunnel_inner.h"

#include <stdlib.h>
#include <string.h>

#define OWNED_MAX 64

struct owned {
    struct machine *machine;
    struct tunnel_stream *stream;
    size_t unread;
    bool accepted, closed;
};

struct machine {
    struct loop *loop;
    struct tunnel *tunnel;
    struct owned owned[OWNED_MAX];
    size_t count;
    uint8_t mood; /* what callbacks do */
    bool full, closing, told;
    size_t out;
};

static void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void transport_write(void *ctx, const void *data, size_t size)
{
    (void)data;
    ((struct machine *)ctx)->out += size;
}

static size_t transport_queued(const void *ctx)
{
    return ((const struct machine *)ctx)->full ? STREAM_HIGH : 0;
}

static bool transport_is_full(const void *ctx)
{
    return ((const struct machine *)ctx)->full;
}

static void transport_close(void *ctx, enum close_reason reason)
{
    struct machine *machine = ctx;
    (void)reason;
    check(!machine->closing);
    machine->closing = true;
}

/* The way gets longer as more is said on it: windows are limited, and then they are not. */
static uint32_t transport_rtt_us(const void *ctx)
{
    return (uint32_t)((const struct machine *)ctx)->out;
}

static const struct tunnel_transport transport = {transport_write, transport_queued, transport_is_full, transport_close,
                                                  transport_rtt_us};

static void on_accept(void *ctx)
{
    check(!((struct owned *)ctx)->closed);
}

static void on_data(void *ctx, const uint8_t *data, size_t size)
{
    struct owned *owned = ctx;
    check(!owned->closed && size > 0 && data != NULL);
    owned->unread += size;
    check(owned->unread <= TUNNEL_WINDOW_MAX);
    if ((owned->machine->mood & 1) != 0) {
        tunnel_stream_consume(owned->stream, owned->unread);
        owned->unread = 0;
    }
    if ((owned->machine->mood & 2) != 0) {
        tunnel_stream_close(owned->stream, CLOSE_TARGET_CLOSED, "enough");
    }
    if (owned->machine->mood == 0xff) {
        tunnel_close(owned->machine->tunnel, CLOSE_SHUTDOWN);
    }
}

static void on_eof(void *ctx)
{
    struct owned *owned = ctx;
    check(!owned->closed);
    if ((owned->machine->mood & 4) != 0) {
        tunnel_stream_shutdown(owned->stream);
    }
}

static void on_writable(void *ctx)
{
    struct owned *owned = ctx;
    static const uint8_t zeros[50000];
    check(!owned->closed);
    size_t room = tunnel_stream_room(owned->stream);
    size_t took = tunnel_stream_write(owned->stream, zeros, sizeof(zeros));
    check(took <= room && took <= sizeof(zeros));
    owned->machine->full = (owned->machine->mood & 8) != 0;
}

static void on_stream_close(void *ctx, enum close_reason reason, const char *text)
{
    struct owned *owned = ctx;
    check(!owned->closed && text != NULL && reason != CLOSE_NONE);
    owned->closed = true;
}

static const struct tunnel_stream_events stream_events = {on_accept, on_data, on_eof, on_writable, on_stream_close};

static void on_open(void *ctx, struct tunnel_stream *stream, const char *kind, const uint8_t *header, size_t size)
{
    struct machine *machine = ctx;
    check(kind[0] != '\0' && (header != NULL || size == 0) && size <= TUNNEL_HEADER_MAX);
    if (machine->count == OWNED_MAX || (machine->mood & 16) != 0) {
        tunnel_stream_close(stream, CLOSE_ACCESS_DENIED, "no");
        return;
    }
    struct owned *owned = &machine->owned[machine->count++];
    owned->machine = machine;
    owned->stream = stream;
    if ((machine->mood & 32) == 0) {
        owned->accepted = true;
        tunnel_stream_accept(stream, &stream_events, owned);
    }
}

static void on_close(void *ctx, enum close_reason reason)
{
    struct machine *machine = ctx;
    check(!machine->told && reason != CLOSE_NONE);
    machine->told = true;
    for (size_t i = 0; i < machine->count; i++) {
        check(!machine->owned[i].accepted || machine->owned[i].closed);
    }
}

static const struct tunnel_events tunnel_events = {.on_open = on_open, .on_close = on_close};

static void stop(void *ctx)
{
    loop_stop(((struct machine *)ctx)->loop);
}

/* The end of a turn: what was put off is done. */
static void turn(struct machine *machine)
{
    struct later last = {.fn = stop, .ctx = machine};
    struct timer *timer = timer_new(machine->loop, stop, machine);
    later_run(machine->loop, &last);
    timer_start(timer, 0, 0);
    loop_run(machine->loop);
    later_cancel(&last);
    timer_free(timer);
}

static void owner_step(struct machine *machine, struct rd *rd)
{
    uint8_t what = rd_u8(rd);
    uint8_t which = rd_u8(rd);
    if (what % 9 == 0 && machine->count < OWNED_MAX) {
        struct owned *owned = &machine->owned[machine->count];
        owned->machine = machine;
        if (tunnel_stream_open(machine->tunnel, "ssh", "grant", which % 6, &stream_events, owned, &owned->stream) ==
            TP_OK) {
            owned->accepted = true;
            machine->count++;
        }
        return;
    }
    if (what % 9 == 1) {
        tunnel_drain(machine->tunnel);
        return;
    }
    if (what % 9 == 2) {
        machine->full = false;
        tunnel_transport_drained(machine->tunnel);
        return;
    }
    if (what % 9 == 3) {
        tunnel_tick(machine->tunnel, loop_now_ms(machine->loop) + which * 200);
        return;
    }
    if (machine->count == 0) {
        return;
    }
    struct owned *owned = &machine->owned[which % machine->count];
    if (owned->closed) {
        return;
    }
    if (!owned->accepted) {
        if (what % 2 == 0) {
            owned->accepted = true;
            tunnel_stream_accept(owned->stream, &stream_events, owned);
        } else {
            owned->closed = true;
            tunnel_stream_close(owned->stream, CLOSE_TARGET_REFUSED, NULL);
        }
        return;
    }
    switch (what % 9) {
    case 4:
        on_writable(owned);
        return;
    case 5:
        tunnel_stream_consume(owned->stream, owned->unread);
        owned->unread = 0;
        return;
    case 6:
        tunnel_stream_shutdown(owned->stream);
        return;
    case 7:
        tunnel_stream_close(owned->stream, CLOSE_LOCKED, "locked");
        return;
    default:
        turn(machine);
        return;
    }
}

static void peer_step(struct machine *machine, struct rd *rd)
{
    static const uint8_t payloads[FRAME_PAYLOAD_MAX] = {4, 'd', 'o', 'n', 'e'};
    struct frame frame = {.type = (enum frame_type)(rd_u8(rd) % (FRAME_TYPE_LAST + 2)), .id = rd_u8(rd)};
    uint8_t size = rd_u8(rd);
    frame.flags = size == 255 ? 1 : 0;
    frame.size = size < 200 ? size : (uint16_t)FRAME_PAYLOAD_MAX;
    uint8_t bytes[16];
    switch (frame.type) {
    case FRAME_CREDIT:
        frame.size = 4;
        break;
    case FRAME_PING:
    case FRAME_PONG:
        frame.size = 8;
        frame.id = 0;
        break;
    case FRAME_RESET:
        frame.size = 5;
        break;
    case FRAME_ACCEPT:
    case FRAME_END:
    case FRAME_BLOCKED:
        frame.size = 0;
        frame.flags = 0;
        break;
    case FRAME_DRAIN:
        frame.size = 0;
        frame.id = 0;
        break;
    default:
        break;
    }
    frame_encode(&frame, bytes);
    tunnel_feed(machine->tunnel, bytes, FRAME_HEADER_SIZE);
    if (frame.type == FRAME_CREDIT) {
        uint8_t credit[4] = {0, rd_u8(rd) % 5, size, 1};
        tunnel_feed(machine->tunnel, credit, sizeof(credit));
    } else if (frame.type == FRAME_OPEN && frame.size >= 4) {
        memcpy(bytes, "\3ssh", 4);
        tunnel_feed(machine->tunnel, bytes, 4);
        tunnel_feed(machine->tunnel, payloads, (size_t)frame.size - 4);
    } else {
        tunnel_feed(machine->tunnel, payloads, frame.size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct machine machine = {0};
    struct rd rd;
    rd_init(&rd, data, size);
    uint8_t start = rd_u8(&rd);
    machine.loop = loop_new();
    machine.tunnel = tunnel_new_over(machine.loop, &transport, &machine, (start & 1) != 0, &tunnel_events, &machine);
    if ((start & 2) != 0) {
        tunnel_feed(machine.tunnel, (const uint8_t *)"\1\0\0\10\0\0\0\0TPTN\0\1\0\2", 16);
    }
    while (rd_ok(&rd) && rd.left > 0 && !machine.closing) {
        uint8_t step = rd_u8(&rd);
        if (step < 100) {
            peer_step(&machine, &rd);
        } else if (step < 200) {
            owner_step(&machine, &rd);
        } else if (step < 230) {
            machine.mood = rd_u8(&rd);
        } else {
            size_t raw = rd_u8(&rd);
            raw = raw < rd.left ? raw : rd.left;
            const uint8_t *bytes = rd_bytes(&rd, raw);
            if (bytes != NULL && raw > 0) {
                tunnel_feed(machine.tunnel, bytes, raw);
            }
        }
    }
    tunnel_transport_closed(machine.tunnel, CLOSE_PEER_RESET);
    check(machine.told);
    for (size_t i = 0; i < machine.count; i++) {
        if (!machine.owned[i].accepted && !machine.owned[i].closed) {
            tunnel_stream_close(machine.owned[i].stream, CLOSE_SHUTDOWN, NULL);
        }
    }
    loop_free(machine.loop);
    return 0;
}
