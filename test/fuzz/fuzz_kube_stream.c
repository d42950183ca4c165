/* Upgraded connections: the first byte chooses kind and use; then records of one byte (who speaks, how much) and bytes. The
 * same bytes are played again one by one: the events must be the same. */
#include "kube/kube_stream.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void on_output(void *ctx, const void *data, size_t size)
{
    uint64_t *sum = ctx;
    for (size_t i = 0; i < size; i++)
        *sum = *sum * 31 + ((const uint8_t *)data)[i];
}

static void on_resize(void *ctx, uint32_t columns, uint32_t rows)
{
    uint64_t *sum = ctx;
    *sum = *sum * 37 + columns * 65536 + rows;
}

static void on_exit_code(void *ctx, int code)
{
    uint64_t *sum = ctx;
    *sum = *sum * 41 + (unsigned)code;
}

static void on_port(void *ctx, unsigned port)
{
    uint64_t *sum = ctx;
    *sum = *sum * 43 + port;
}

static uint64_t play(const uint8_t *data, size_t size, bool single)
{
    static const struct kube_stream_events events = {
        .on_output = on_output, .on_resize = on_resize, .on_exit = on_exit_code, .on_port = on_port};
    static const char *const protocols[] = {"v5.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"};
    struct kube_stream *stream = NULL;
    struct kube_stream *twin = NULL; /* hears the same, and reads our own end */
    uint64_t sum = 1;
    uint64_t twin_sum = 1;
    enum kube_stream_kind kind = data[0] & 1 ? KUBE_STREAM_SPDY : KUBE_STREAM_WEBSOCKET;
    const char *protocol = protocols[(data[0] >> 1) & 1];
    enum tp_err err = kube_stream_new(kind, protocol, data[0] & 4, &events, &sum, &stream, NULL);
    if (err || kube_stream_new(kind, protocol, data[0] & 4, &events, &twin_sum, &twin, NULL) != TP_OK)
        return 0;
    for (size_t at = 1; at < size && !err;) {
        bool client = data[at] & 0x80;
        size_t length = data[at++] & 0x7f;
        length = length < size - at ? length : size - at;
        for (size_t i = 0; i < length && !err; i += single ? 1 : length) {
            size_t piece = single ? 1 : length;
            err = client ? kube_stream_client(stream, data + at + i, piece, NULL)
                         : kube_stream_server(stream, data + at + i, piece, NULL);
            if ((client ? kube_stream_client(twin, data + at + i, piece, NULL)
                        : kube_stream_server(twin, data + at + i, piece, NULL)) != err)
                abort();
        }
        at += length;
    }
    struct buf said;
    buf_init(&said, 0);
    if (!err && kube_stream_farewell(stream, 403, "the end", data[0] & 8, &said) == TP_OK &&
        kube_stream_server(twin, buf_head(&said), buf_size(&said), NULL) != TP_OK)
        abort();
    buf_free(&said);
    kube_stream_free(twin);
    kube_stream_free(stream);
    return sum * 2 + (err != TP_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && play(data, size, false) != play(data, size, true))
        abort();
    return 0;
}
