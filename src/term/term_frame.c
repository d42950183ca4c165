#include "term/term_frame.h"

/* One row per type: who may send it, and the bounds of its payload. */
static const struct rule {
    enum term_type type;
    bool from[2]; /* by enum term_side */
    size_t least, most;
} rules[] = {
    {TERM_OPEN, {true, true}, 2, TERM_CONTROL_MAX},
    {TERM_DATA, {true, true}, 1, TERM_FRAME_MAX},
    {TERM_RESIZE, {true, false}, 4, 4},
    {TERM_ACK, {true, false}, 8, 8},
    {TERM_QUIT, {true, false}, 0, 0},
    {TERM_WATCHED, {false, true}, 2, TERM_CONTROL_MAX},
    {TERM_EXIT, {false, true}, 2, TERM_CONTROL_MAX},
    {TERM_CLOSE, {false, true}, 2, TERM_CONTROL_MAX},
};

void term_reader_init(struct term_reader *reader, enum term_side side, term_data_cb *on_data,
                      term_control_cb *on_control, void *ctx)
{
    *reader = (struct term_reader){.side = side, .on_data = on_data, .on_control = on_control, .ctx = ctx};
    buf_init(&reader->control, TERM_CONTROL_MAX);
}

void term_reader_free(struct term_reader *reader)
{
    buf_free(&reader->control);
}

void term_head(uint8_t out[TERM_HEAD], enum term_type type, size_t size)
{
    out[0] = (uint8_t)type;
    out[1] = (uint8_t)(size >> 16);
    out[2] = (uint8_t)(size >> 8);
    out[3] = (uint8_t)size;
}

static enum tp_err begin(struct term_reader *reader, struct tp_error *error)
{
    const uint8_t *head = reader->head;
    const struct rule *rule = NULL;
    reader->left = (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if ((uint8_t)rules[i].type == head[0] && rules[i].from[reader->side])
            rule = &rules[i];
    }
    if (!rule || reader->left < rule->least || reader->left > rule->most)
        return err_set(error, TP_PROTOCOL, "a frame of the terminal has a type or size that is not allowed");
    /* A node that refuses has nothing to open. */
    if (reader->opened == (rule->type == TERM_OPEN) && !(rule->type == TERM_CLOSE && !reader->opened))
        return err_set(error, TP_PROTOCOL, "a frame of the terminal is out of order");
    reader->opened |= rule->type == TERM_OPEN;
    return TP_OK;
}

/* The bytes of one frame's payload that are here. */
static enum tp_err payload(struct term_reader *reader, const uint8_t *data, size_t size)
{
    enum term_type type = (enum term_type)reader->head[0];
    enum tp_err err = TP_OK;
    reader->left -= size;
    if (type == TERM_DATA) {
        err = size > 0 ? reader->on_data(reader->ctx, data, size) : TP_OK;
    } else {
        err = buf_append(&reader->control, data, size);
        if (err == TP_OK && reader->left == 0)
            err = reader->on_control(reader->ctx, type, buf_head(&reader->control), buf_size(&reader->control));
    }
    if (reader->left == 0) {
        reader->head_size = 0;
        buf_free(&reader->control);
    }
    return err;
}

enum tp_err term_reader_feed(struct term_reader *reader, const uint8_t *data, size_t size, struct tp_error *error)
{
    while (size > 0) {
        size_t used = 1;
        enum tp_err err = TP_OK;
        if (reader->head_size < TERM_HEAD) {
            reader->head[reader->head_size++] = *data;
            if (reader->head_size == TERM_HEAD) {
                err = begin(reader, error);
                if (err == TP_OK && reader->left == 0)
                    err = payload(reader, data, 0);
            }
        } else {
            used = size < reader->left ? size : reader->left;
            err = payload(reader, data, used);
        }
        if (err != TP_OK)
            return err;
        data += used;
        size -= used;
    }
    return TP_OK;
}
