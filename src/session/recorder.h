/*
 * One session channel's recording: turns output into asciicast text and hands it up in order, with a bound on what has
 * not been confirmed. When the bound is reached, recorder_is_full says so and reading must pause until on_change.
 */
#ifndef SESSION_RECORDER_H
#define SESSION_RECORDER_H

#include "core/rpc.h"
#include "session/asciicast.h"

struct recorder;

struct recorder_options {
    uint32_t channel; /* number towards the monitor */
    bool terminal;    /* false: at most RECORDER_PLAIN_LIMIT bytes of output are kept */
    struct asciicast_header header;
};
#define RECORDER_PLAIN_LIMIT ((size_t)1024 * 1024)

/* Room came back, the last byte was confirmed, or the recorder failed (recorder_has_failed). */
typedef void recorder_cb(void *ctx);

/* The header is the first thing sent. */
struct recorder *recorder_new(struct loop *loop, struct rpc *monitor, const struct recorder_options *options,
                              recorder_cb *on_change, void *ctx) TP_MUST;
void recorder_output(struct recorder *recorder, const void *data, size_t size);
void recorder_resize(struct recorder *recorder, uint32_t cols, uint32_t rows);
bool recorder_is_full(struct recorder *recorder);
/* Sends what is left. After it recorder_is_done becomes true once everything is confirmed or has failed. */
void recorder_finish(struct recorder *recorder);
bool recorder_is_done(const struct recorder *recorder);
bool recorder_has_failed(const struct recorder *recorder);
/* NULL is fine. on_change is not called any more. */
void recorder_free(struct recorder *recorder);

#endif
