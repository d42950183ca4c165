#include "recording/recorder.h"

#include "base/clock.h"
#include "base/enc.h"
#include "base/mem.h"
#include "recording/piece.h"

#include <time.h>

#define FLUSH_SIZE ((size_t)32 * 1024)
#define FLUSH_MS 200
#define PLAIN_TEXT_LIMIT (RECORDER_PLAIN_LIMIT + RECORDER_PLAIN_LIMIT / 4)
#define PLAIN_STEP ((size_t)4096) /* bytes between two looks at that */
#define UNCONFIRMED_LIMIT ((size_t)1024 * 1024)

struct recorder {
    struct loop *loop;
    struct recorder_sink sink;
    struct timer *flush;
    recorder_cb *on_change;
    void *ctx;
    struct asciicast cast;
    struct buf text; /* not yet sent */
    int64_t started_us;
    size_t unconfirmed; /* sent, no answer yet */
    uint64_t offset;    /* bytes sent */
    size_t plain_left;  /* bytes of output that may still be kept, without a terminal */
    uint8_t last;       /* of that output */
    bool sending;       /* a piece is under way */
    size_t piece_size;
    bool terminal;
    bool packed;
    bool failed;
    bool finishing;
    bool was_full;
};

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t elapsed_us(const struct recorder *recorder)
{
    return now_us() - recorder->started_us;
}

static void send_some(struct recorder *recorder);

void recorder_confirm(struct recorder *recorder, const struct tp_error *error)
{
    recorder->sending = false;
    recorder->unconfirmed -= recorder->piece_size;
    if (error != NULL) {
        recorder->failed = true;
        buf_free(&recorder->text);
    } else {
        send_some(recorder);
    }
    if (recorder->failed || recorder_is_done(recorder) || (recorder->was_full && !recorder_is_full(recorder))) {
        recorder->was_full = false;
        recorder->on_change(recorder->ctx);
    }
}

/* One append at a time keeps the order; a piece is bounded so that a burst does not become one huge frame. */
static void send_some(struct recorder *recorder)
{
    size_t size = buf_size(&recorder->text);
    if (recorder->sending || size == 0 || recorder->failed) {
        return;
    }
    if (size < FLUSH_SIZE && !recorder->finishing && timer_is_active(recorder->flush)) {
        return;
    }
    size = size < PIECE_MAX ? size : PIECE_MAX;
    const uint8_t *text = buf_head(&recorder->text);
    char *data = recorder->packed ? piece_pack(text, size) : enc_base64(text, size);
    uint64_t offset = recorder->offset;
    buf_consume(&recorder->text, size);
    recorder->offset += size;
    recorder->unconfirmed += size;
    recorder->piece_size = size;
    recorder->sending = true;
    timer_stop(recorder->flush);
    recorder->sink.append(recorder->sink.ctx, recorder, offset, data);
    mem_free(data);
}

static void on_flush(void *ctx)
{
    send_some(ctx);
}

static void added(struct recorder *recorder)
{
    if (buf_size(&recorder->text) >= FLUSH_SIZE) {
        send_some(recorder);
    }
    if (buf_size(&recorder->text) > 0 && !timer_is_active(recorder->flush)) {
        timer_start(recorder->flush, FLUSH_MS, 0);
    }
}

struct recorder *recorder_new(struct loop *loop, const struct recorder_sink *sink,
                              const struct recorder_options *options, recorder_cb *on_change, void *ctx)
{
    struct recorder *recorder = mem_alloc(sizeof(*recorder));
    recorder->loop = loop;
    recorder->sink = *sink;
    recorder->flush = timer_new(loop, on_flush, recorder);
    recorder->on_change = on_change;
    recorder->ctx = ctx;
    recorder->started_us = now_us();
    recorder->plain_left = RECORDER_PLAIN_LIMIT;
    recorder->terminal = options->terminal;
    recorder->packed = options->packed;
    buf_init(&recorder->text, 0);
    asciicast_header(&recorder->text, &options->header);
    added(recorder);
    return recorder;
}

/* An asciicast is what a terminal shows, and a terminal's driver puts a carriage return before each line feed: without it every
 * line would begin where the one above it ends. */
static void put_lines(struct recorder *recorder, int64_t at, const uint8_t *data, size_t size)
{
    uint8_t lines[2 * PLAIN_STEP];
    size_t count = 0;
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\n' && recorder->last != '\r') {
            lines[count++] = '\r';
        }
        lines[count++] = data[i];
        recorder->last = data[i];
    }
    asciicast_output(&recorder->cast, &recorder->text, at, lines, count);
}

/* Bytes that are no text take up to six times their size in the record: it is full by that too. */
static void output_plain(struct recorder *recorder, const uint8_t *data, size_t size)
{
    int64_t at = elapsed_us(recorder);
    while (size > 0 && recorder->plain_left > 0) {
        size_t step = size < PLAIN_STEP ? size : PLAIN_STEP;
        step = step < recorder->plain_left ? step : recorder->plain_left;
        put_lines(recorder, at, data, step);
        data += step;
        size -= step;
        recorder->plain_left -= step;
        if (recorder->plain_left == 0 || recorder->offset + buf_size(&recorder->text) >= PLAIN_TEXT_LIMIT) {
            recorder->plain_left = 0;
            asciicast_finish(&recorder->cast, &recorder->text, at);
            asciicast_marker(&recorder->cast, &recorder->text, at, "the output after this is not recorded");
        }
    }
}

void recorder_output(struct recorder *recorder, const void *data, size_t size)
{
    if (recorder->failed || recorder->finishing) {
        return;
    }
    if (recorder->terminal) {
        asciicast_output(&recorder->cast, &recorder->text, elapsed_us(recorder), data, size);
    } else {
        output_plain(recorder, data, size);
    }
    added(recorder);
}

void recorder_resize(struct recorder *recorder, uint32_t cols, uint32_t rows)
{
    if (!recorder->failed && !recorder->finishing) {
        asciicast_resize(&recorder->cast, &recorder->text, elapsed_us(recorder), cols, rows);
        added(recorder);
    }
}

bool recorder_is_full(struct recorder *recorder)
{
    bool full = !recorder->failed && buf_size(&recorder->text) + recorder->unconfirmed >= UNCONFIRMED_LIMIT;
    if (full) {
        recorder->was_full = true; /* on_change will wake the reader */
    }
    return full;
}

void recorder_finish(struct recorder *recorder)
{
    if (recorder->finishing) {
        return;
    }
    recorder->finishing = true;
    if (!recorder->failed) {
        asciicast_finish(&recorder->cast, &recorder->text, elapsed_us(recorder));
        send_some(recorder);
    }
}

bool recorder_is_done(const struct recorder *recorder)
{
    return recorder->finishing && (recorder->failed || (!recorder->sending && buf_size(&recorder->text) == 0));
}

bool recorder_has_failed(const struct recorder *recorder)
{
    return recorder->failed;
}

void recorder_free(struct recorder *recorder)
{
    if (recorder == NULL) {
        return;
    }
    if (recorder->sending) {
        recorder->sink.cancel(recorder->sink.ctx);
    }
    timer_free(recorder->flush);
    buf_free(&recorder->text);
    mem_free(recorder);
}
