/*
 * One session channel's recording: turns output into asciicast text and hands it up in order, with a bound on what has
 * not been confirmed. When the bound is reached, recorder_is_full says so and reading must pause until on_change.
 */
#ifndef RECORDING_RECORDER_H
#define RECORDING_RECORDER_H

#include "core/loop.h"
#include "recording/asciicast.h"

struct recorder;

/* Where the text goes: tport-session's net half asks its monitor, the agent asks auth. */
struct recorder_sink {
    /* Hands on the next piece (recording/piece.h; of what stands at offset). Exactly one recorder_confirm follows, never inside
     * the call, unless cancel came first. One piece is under way at a time. */
    void (*append)(void *ctx, struct recorder *recorder, uint64_t offset, const char *piece);
    /* The recorder is going away: no recorder_confirm for the piece under way. */
    void (*cancel)(void *ctx);
    void *ctx;
};

struct recorder_options {
    bool
        terminal; /* false: at most RECORDER_PLAIN_LIMIT bytes of output are kept, fewer when they are not text, and line
                      feeds get the carriage return that a terminal's driver would have given them */
    bool packed;  /* auth takes pieces that are compressed: option record_packed of the grant */
    struct asciicast_header header;
};
#define RECORDER_PLAIN_LIMIT ((size_t)1024 * 1024)

/* Room came back, the last byte was confirmed, or the recorder failed (recorder_has_failed). */
typedef void recorder_cb(void *ctx);

/* The header is the first thing sent. sink is copied. */
struct recorder *recorder_new(struct loop *loop, const struct recorder_sink *sink,
                              const struct recorder_options *options, recorder_cb *on_change, void *ctx) TP_MUST;
/* The piece under way is safe (error NULL) or lost: then the recorder has failed for good. */
void recorder_confirm(struct recorder *recorder, const struct tp_error *error);
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
