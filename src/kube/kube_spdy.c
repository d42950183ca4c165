#include "kube/kube_spdy.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/wire.h"
#include "kube/kube_spdy_headers.h"

#include <stdlib.h>
#include <string.h>

#define VERSION 3
#define STREAMS_MAX 4096
#define FLAG_FIN 1
#define HEAD_SIZE 8
#define FILL_MAX 65536u

/* Types of control frames. */
enum {
    SYN_STREAM = 1,
    SYN_REPLY = 2,
    RST_STREAM = 3,
    SETTINGS = 4,
    PING = 6,
    GOAWAY = 7,
    HEADERS = 8,
    WINDOW_UPDATE = 9
};

struct stream {
    uint32_t id;
    enum kube_spdy_type type;
    bool ended[2]; /* by client, by server */
};

/* One direction. */
struct side {
    uint8_t head[HEAD_SIZE];
    size_t head_size;
    bool in_payload;
    bool control;
    uint16_t type; /* of a control frame */
    uint32_t id;   /* of a data frame */
    uint8_t flags;
    uint32_t left;
    struct buf body; /* of a control frame */
    struct kube_spdy_inflate *inflate;
};

struct kube_spdy {
    const struct kube_spdy_events *events;
    void *ctx;
    struct side sides[2]; /* client, server */
    struct stream *streams;
    size_t count;
    struct buf block;
};

struct kube_spdy *kube_spdy_new(const struct kube_spdy_events *events, void *ctx)
{
    struct kube_spdy *spdy = mem_alloc(sizeof *spdy);
    spdy->events = events;
    spdy->ctx = ctx;
    buf_init(&spdy->block, KUBE_SPDY_BLOCK_MAX);
    for (int i = 0; i < 2; i++) {
        buf_init(&spdy->sides[i].body, KUBE_SPDY_BLOCK_MAX);
        spdy->sides[i].inflate = kube_spdy_inflate_new();
    }
    return spdy;
}

void kube_spdy_free(struct kube_spdy *spdy)
{
    if (!spdy)
        return;
    for (int i = 0; i < 2; i++) {
        buf_free(&spdy->sides[i].body);
        kube_spdy_inflate_free(spdy->sides[i].inflate);
    }
    buf_free(&spdy->block);
    mem_free(spdy->streams);
    mem_free(spdy);
}

/* ---- streams ---- */

/* Where it is, or belongs: they are in the order of their ids, for a client may open thousands and write to each in turn. */
static size_t place_of(const struct kube_spdy *spdy, uint32_t id)
{
    size_t from = 0;
    size_t to = spdy->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (spdy->streams[middle].id < id)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static struct stream *find(struct kube_spdy *spdy, uint32_t id)
{
    size_t place = place_of(spdy, id);
    return place < spdy->count && spdy->streams[place].id == id ? &spdy->streams[place] : NULL;
}

static void forget(struct kube_spdy *spdy, struct stream *stream)
{
    size_t behind = spdy->count - (size_t)(stream - spdy->streams) - 1;
    memmove(stream, stream + 1, behind * sizeof *stream);
    spdy->count--;
}

static void ended(struct kube_spdy *spdy, struct stream *stream, bool client)
{
    stream->ended[client ? 0 : 1] = true;
    if (stream->ended[0] && stream->ended[1])
        forget(spdy, stream);
}

static enum kube_spdy_type type_of(const char *name)
{
    static const struct {
        const char *name;
        enum kube_spdy_type type;
    } types[] = {{"stdin", KUBE_SPDY_STDIN}, {"stdout", KUBE_SPDY_OUTPUT}, {"stderr", KUBE_SPDY_OUTPUT},
                 {"error", KUBE_SPDY_ERROR}, {"resize", KUBE_SPDY_RESIZE}, {"data", KUBE_SPDY_DATA}};
    for (size_t i = 0; name && i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0)
            return types[i].type;
    return KUBE_SPDY_OTHER;
}

static enum tp_err open_stream(struct kube_spdy *spdy, bool client, uint32_t id, uint8_t flags, struct tp_error *error)
{
    char *type = kube_spdy_header(&spdy->block, "streamtype");
    char *port = kube_spdy_header(&spdy->block, "port");
    struct stream stream = {.id = id, .type = type_of(type)};
    unsigned long number = port ? strtoul(port, NULL, 10) : 0;
    mem_free(type);
    mem_free(port);
    if (id == 0 || find(spdy, id) || spdy->count == STREAMS_MAX)
        return err_set(error, TP_INVALID, "the SPDY connection opens a stream twice, or too many");
    spdy->streams = mem_resize(spdy->streams, (spdy->count + 1) * sizeof *spdy->streams);
    size_t place = place_of(spdy, id);
    memmove(&spdy->streams[place + 1], &spdy->streams[place], (spdy->count - place) * sizeof *spdy->streams);
    spdy->streams[place] = stream;
    spdy->count++;
    spdy->events->on_open(spdy->ctx, stream.type, number <= 65535 ? (unsigned)number : 0);
    if (flags & FLAG_FIN)
        ended(spdy, find(spdy, id), client);
    return TP_OK;
}

/* ---- control frames ---- */

static enum tp_err control(struct kube_spdy *spdy, struct side *side, bool client, struct tp_error *error)
{
    struct rd rd;
    uint32_t id;
    struct stream *stream;
    rd_init(&rd, buf_head(&side->body), buf_size(&side->body));
    if (side->type != SYN_STREAM && side->type != SYN_REPLY && side->type != HEADERS && side->type != RST_STREAM)
        return TP_OK;
    id = rd_u32(&rd) & 0x7fffffff;
    if (side->type == SYN_STREAM) {
        (void)rd_u32(&rd); /* associated stream */
        (void)rd_u16(&rd); /* priority, slot */
    }
    if (side->type == RST_STREAM)
        (void)rd_u32(&rd);
    if (!rd_ok(&rd))
        return err_set(error, TP_INVALID, "a SPDY frame is too short");
    /* Blocks that nobody asks about are inflated all the same: the next ones build on them. */
    if (side->type != RST_STREAM && (kube_spdy_inflate_block(side->inflate, rd.at, rd.left, &spdy->block) != TP_OK ||
                                     !kube_spdy_block_is_whole(&spdy->block)))
        return err_set(error, TP_INVALID, "a SPDY header block is broken or too large");
    if (side->type == SYN_STREAM)
        return open_stream(spdy, client, id, side->flags, error);
    stream = find(spdy, id);
    /* A server goes on writing to a stream that its client has reset, and a client can go on reading: it is still output. */
    if (stream && side->type == RST_STREAM && client && stream->type == KUBE_SPDY_OUTPUT)
        stream->ended[0] = true;
    else if (stream && side->type == RST_STREAM)
        forget(spdy, stream);
    else if (stream && (side->flags & FLAG_FIN))
        ended(spdy, stream, client);
    return TP_OK;
}

/* ---- frames ---- */

static enum tp_err begin_frame(struct side *side, struct tp_error *error)
{
    struct rd rd;
    uint32_t word;
    rd_init(&rd, side->head, HEAD_SIZE);
    word = rd_u32(&rd);
    side->flags = rd_u8(&rd);
    side->left = rd_u24(&rd);
    side->control = word >> 31;
    side->type = (uint16_t)word;
    side->id = word & 0x7fffffff;
    if (side->control && ((word >> 16) & 0x7fff) != VERSION)
        return err_set(error, TP_INVALID, "the connection does not speak SPDY/3.1");
    if (side->control && (side->type == 0 || side->type > WINDOW_UPDATE + 1 || side->left > KUBE_SPDY_BLOCK_MAX))
        return err_set(error, TP_INVALID, "a SPDY frame is not known or too large");
    buf_clear(&side->body);
    side->in_payload = true;
    return TP_OK;
}

static enum tp_err payload(struct kube_spdy *spdy, struct side *side, bool client, const uint8_t *data, size_t size,
                           struct tp_error *error)
{
    struct stream *stream;
    bool fin;
    side->left -= (uint32_t)size;
    if (side->control) {
        (void)buf_append(&side->body, data, size);
        return side->left > 0 ? TP_OK : control(spdy, side, client, error);
    }
    stream = find(spdy, side->id);
    if (!stream) /* of a stream that was reset */
        return TP_OK;
    fin = side->left == 0 && (side->flags & FLAG_FIN);
    spdy->events->on_data(spdy->ctx, stream->type, client, data, size, fin);
    if (fin)
        ended(spdy, stream, client);
    return TP_OK;
}

enum tp_err kube_spdy_feed(struct kube_spdy *spdy, bool client, const uint8_t *data, size_t size,
                           struct tp_error *error)
{
    struct side *side = &spdy->sides[client ? 0 : 1];
    while (size > 0 || (side->in_payload && side->left == 0)) {
        size_t used;
        enum tp_err err = TP_OK;
        if (side->in_payload) {
            used = size < side->left ? size : side->left;
            err = payload(spdy, side, client, data, used, error);
            if (side->left == 0) {
                side->in_payload = false;
                side->head_size = 0;
            }
        } else {
            used = size < HEAD_SIZE - side->head_size ? size : HEAD_SIZE - side->head_size;
            memcpy(side->head + side->head_size, data, used);
            side->head_size += used;
            if (side->head_size == HEAD_SIZE)
                err = begin_frame(side, error);
        }
        if (err)
            return err;
        data += used;
        size -= used;
    }
    return TP_OK;
}

/* ---- the end, in the server's name ---- */

static enum tp_err complete(struct kube_spdy *spdy, struct buf *out)
{
    static const uint8_t zeros[1024];
    struct side *side = &spdy->sides[1];
    struct stream *stream;
    if (!side->in_payload)
        return side->head_size == 0 ? TP_OK : TP_INVALID;
    if (side->control || side->left > FILL_MAX)
        return TP_INVALID;
    for (uint32_t piece; side->left > 0; side->left -= piece) {
        piece = side->left < sizeof zeros ? side->left : (uint32_t)sizeof zeros;
        (void)buf_append(out, zeros, piece);
    }
    stream = find(spdy, side->id);
    if (stream && (side->flags & FLAG_FIN))
        ended(spdy, stream, false);
    return TP_OK;
}

static void put_last(struct buf *out, uint32_t id, const char *text)
{
    size_t size = strlen(text);
    uint8_t head[HEAD_SIZE] = {(uint8_t)(id >> 24),   (uint8_t)(id >> 16),  (uint8_t)(id >> 8), (uint8_t)id, FLAG_FIN,
                               (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};
    (void)buf_append(out, head, sizeof head);
    (void)buf_append(out, text, size);
}

enum tp_err kube_spdy_farewell(struct kube_spdy *spdy, const char *line, const char *text, struct buf *out)
{
    static const uint8_t goaway[] = {0x80, VERSION, 0, GOAWAY, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0};
    enum tp_err err = complete(spdy, out);
    if (err)
        return err;
    for (size_t i = 0; i < spdy->count; i++) {
        const struct stream *stream = &spdy->streams[i];
        if (!stream->ended[1])
            put_last(out, stream->id,
                     stream->type == KUBE_SPDY_OUTPUT  ? line
                     : stream->type == KUBE_SPDY_ERROR ? text
                                                       : "");
    }
    (void)buf_append(out, goaway, sizeof goaway);
    return TP_OK;
}
