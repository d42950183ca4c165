/* A struct stream under a tunnel. */
#include "base/mem.h"
#include "tunnel/tunnel_inner.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

struct link {
    struct stream *stream;
    struct tunnel *tunnel;
};

static void link_write(void *ctx, const void *data, size_t size)
{
    struct link *link = ctx;
    stream_write(link->stream, data, size);
}

static size_t link_queued(const void *ctx)
{
    const struct link *link = ctx;
    return stream_queued(link->stream);
}

static bool link_is_full(const void *ctx)
{
    const struct link *link = ctx;
    return stream_is_full(link->stream);
}

static void link_close(void *ctx, enum close_reason reason)
{
    struct link *link = ctx;
    stream_close_flush(link->stream, reason);
}

/* The shortest that the kernel has seen: what queues add is not the way. */
static uint32_t link_rtt_us(const void *ctx)
{
    const struct link *link = ctx;
    struct tcp_info info = {.tcpi_min_rtt = UINT32_MAX};
    socklen_t size = sizeof(info);
    bool known = getsockopt(stream_fd(link->stream), IPPROTO_TCP, TCP_INFO, &info, &size) == 0;
    return known && info.tcpi_min_rtt != UINT32_MAX ? info.tcpi_min_rtt : 0;
}

static const struct tunnel_transport link_transport = {
    .write = link_write,
    .queued = link_queued,
    .is_full = link_is_full,
    .close = link_close,
    .rtt_us = link_rtt_us,
};

static void on_data(void *ctx, const uint8_t *data, size_t size)
{
    struct link *link = ctx;
    tunnel_feed(link->tunnel, data, size);
}

static void on_drain(void *ctx)
{
    struct link *link = ctx;
    tunnel_transport_drained(link->tunnel);
}

static void on_close(void *ctx, enum close_reason reason)
{
    struct link *link = ctx;
    tunnel_transport_closed(link->tunnel, reason);
    mem_free(link);
}

/* Without on_eof: a peer that sends no more is gone, a tunnel has no half-close. */
static const struct stream_events link_events = {
    .on_data = on_data,
    .on_drain = on_drain,
    .on_close = on_close,
};

struct tunnel *tunnel_new(struct loop *loop, struct stream *transport, bool dialler, const struct tunnel_events *events,
                          void *ctx)
{
    struct link *link = mem_alloc(sizeof(*link));
    link->stream = transport;
    stream_set_events(transport, &link_events, link);
    link->tunnel = tunnel_new_over(loop, &link_transport, link, dialler, events, ctx);
    return link->tunnel;
}
