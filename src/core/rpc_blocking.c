#include "core/rpc.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static enum tp_err wait_for(int fd, short events, int64_t deadline, struct tp_error *error)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        int64_t left = deadline - clock_mono_ms();
        int ready;
        if (left <= 0)
            return err_set(error, TP_TIMEOUT, "no answer came in time");
        ready = poll(&p, 1, left > 60000 ? 60000 : (int)left);
        if (ready > 0)
            return TP_OK;
        if (ready < 0 && errno != EINTR)
            return err_errno(error, errno, "can't wait for the answer");
    }
}

static enum tp_err move(int fd, bool out, uint8_t *data, size_t size, int64_t deadline, struct tp_error *error)
{
    while (size > 0) {
        ssize_t moved;
        enum tp_err err = wait_for(fd, out ? POLLOUT : POLLIN, deadline, error);
        if (err != TP_OK)
            return err;
        moved = out ? send(fd, data, size, MSG_NOSIGNAL) : recv(fd, data, size, 0);
        if (moved == 0)
            return err_set(error, TP_CLOSED, "the other side closed the connection without an answer");
        if (moved < 0) {
            if (errno == EINTR || errno == EAGAIN)
                continue;
            return err_errno(error, errno, "the connection broke");
        }
        data += moved;
        size -= (size_t)moved;
    }
    return TP_OK;
}

static enum tp_err read_frame(int fd, int64_t deadline, struct rpc_frame *ret_frame, json_t **ret_body,
                              struct tp_error *error)
{
    uint8_t header[RPC_HEADER_SIZE];
    uint8_t *data;
    enum tp_err err = move(fd, false, header, sizeof(header), deadline, error);
    if (err != TP_OK)
        return err;
    if (rpc_frame_decode(header, ret_frame) != TP_OK)
        return err_set(error, TP_PROTOCOL, "the answer is not in tport's protocol");
    data = mem_alloc(ret_frame->size);
    err = move(fd, false, data, ret_frame->size, deadline, error);
    if (err == TP_OK)
        err = json_parse_object(data, ret_frame->size, RPC_FRAME_MAX, ret_body, error);
    secret_wipe(data, ret_frame->size);
    mem_free(data);
    return err;
}

enum tp_err rpc_blocking(int fd, const char *method, json_t *params, int64_t timeout_ms, json_t **ret_result,
                         struct tp_error *error)
{
    const int64_t deadline = clock_mono_ms() + (timeout_ms > 0 ? timeout_ms : 30000);
    json_t *body = json_object();
    struct rpc_frame frame = {.type = RPC_REQUEST, .id = 1};
    uint8_t header[RPC_HEADER_SIZE];
    char *text;
    enum tp_err err;

    (void)json_object_set_new(body, "method", json_string(method));
    (void)json_object_set_new(body, "params", params ? params : json_object());
    text = json_text(body);
    json_decref(body);
    frame.size = (uint32_t)strlen(text);
    if (frame.size > RPC_FRAME_MAX) {
        secret_free(text);
        return err_set(error, TP_TOO_LARGE, "the request is larger than %zu bytes", RPC_FRAME_MAX);
    }
    rpc_frame_encode(&frame, header);
    err = move(fd, true, header, sizeof(header), deadline, error);
    if (err == TP_OK)
        err = move(fd, true, (uint8_t *)text, frame.size, deadline, error);
    secret_free(text);
    while (err == TP_OK) {
        json_t *answer = NULL;
        err = read_frame(fd, deadline, &frame, &answer, error);
        if (err != TP_OK)
            break;
        if (frame.type == RPC_REPLY && frame.id == 1) {
            *ret_result = answer;
            return TP_OK;
        }
        if (frame.type == RPC_ERROR && frame.id == 1) {
            enum tp_err code = err_from_name(json_get_text(answer, "code", "internal"));
            err = err_set(error, code == TP_OK ? TP_INTERNAL : code, "%s", json_get_text(answer, "message", ""));
        }
        json_decref(answer);
    }
    return err;
}
