/* Reads SPDY/3.1 frames (draft-mbelshe-httpbis-spdy-00) of both directions in pieces of any size: which streams there are,
 * and what flows on them. */
#ifndef KUBE_SPDY_H
#define KUBE_SPDY_H

#include "base/buf.h"
#include "base/err.h"

struct kube_spdy;

enum kube_spdy_type {
    KUBE_SPDY_OTHER,
    KUBE_SPDY_STDIN,
    KUBE_SPDY_OUTPUT, /* stdout, stderr */
    KUBE_SPDY_ERROR,
    KUBE_SPDY_RESIZE,
    KUBE_SPDY_DATA /* of portforward */
};

struct kube_spdy_events {
    /* A stream has been opened; port is that of its header "port", 0 when it has none. */
    void (*on_open)(void *ctx, enum kube_spdy_type type, unsigned port);
    /* Bytes on a stream; client says who sent them. fin: the last ones of that direction (size may be 0). */
    void (*on_data)(void *ctx, enum kube_spdy_type type, bool client, const uint8_t *data, size_t size, bool fin);
};

struct kube_spdy *kube_spdy_new(const struct kube_spdy_events *events, void *ctx) TP_MUST;
void kube_spdy_free(struct kube_spdy *spdy);
/* TP_INVALID for what is no SPDY/3.1, headers past 64 KB, more than 4096 streams at once. */
enum tp_err kube_spdy_feed(struct kube_spdy *spdy, bool client, const uint8_t *data, size_t size,
                           struct tp_error *error) TP_MUST;
/* Appends the end of the connection in the server's name: line on the streams of output, text on those of errors, the end of
 * every stream, GOAWAY. A data frame that the server has begun is filled up with zeros. TP_INVALID within another frame, or
 * where more than 64 KB are missing. Nothing of the server's may be fed afterwards. */
enum tp_err kube_spdy_farewell(struct kube_spdy *spdy, const char *line, const char *text, struct buf *out) TP_MUST;

#endif
