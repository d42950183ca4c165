#include "protocols/http/http_client.h"

#include "base/mem.h"

#include <string.h>

#define READ_SIZE ((size_t)16 * 1024)

static enum tp_err write_call(struct buf *out, const struct http_call *call, struct tp_error *error)
{
    char *body = call->body ? json_text(call->body) : NULL;
    bool sends = body || strcmp(call->method, "POST") == 0 || strcmp(call->method, "PUT") == 0;
    enum tp_err err = TP_OK;
    if (call->path[0] != '/' || strpbrk(call->path, " \r\n\t#") || !http_is_value(call->path) ||
        !http_is_token(call->method) || !http_is_value(call->host) || strchr(call->host, ' '))
        err = err_set(error, TP_INVALID, "the request to %s can't be written", call->host);
    (void)buf_printf(out, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: tport\r\nAccept: application/json\r\n",
                     call->method, call->path, call->host);
    for (size_t i = 0; err == TP_OK && i < call->header_count; i++) {
        if (!http_is_token(call->headers[i].name) || !http_is_value(call->headers[i].value))
            err = err_set(error, TP_INVALID, "the header %s can't be written", call->headers[i].name);
        else
            (void)buf_printf(out, "%s: %s\r\n", call->headers[i].name, call->headers[i].value);
    }
    if (body)
        (void)buf_append_text(out, "Content-Type: application/json\r\n");
    if (sends)
        (void)buf_printf(out, "Content-Length: %zu\r\n", body ? strlen(body) : (size_t)0);
    (void)buf_append_text(out, "\r\n");
    if (body)
        (void)buf_append_text(out, body);
    secret_free(body);
    return err;
}

static enum tp_err read_answer(const struct http_io *io, struct http_response_parser *parser, struct tp_error *error)
{
    uint8_t *chunk = mem_alloc(READ_SIZE);
    enum http_step step = HTTP_MORE;
    enum tp_err err = TP_OK;
    bool any = false;
    while (step == HTTP_MORE) {
        size_t size = 0;
        err = io->read(io->ctx, chunk, READ_SIZE, &size, error);
        if (err == TP_CLOSED && any) /* not "closed before answering": the call may have been carried out */
            err = err_set(error, TP_IO, "the connection broke in the middle of the answer");
        if (err != TP_OK)
            break;
        if (size == 0 && !any) {
            err = err_set(error, TP_CLOSED, "the server closed the connection without an answer");
            break;
        }
        any = true;
        step = size > 0 ? http_response_parser_feed(parser, chunk, size) : http_response_parser_end(parser);
    }
    secret_wipe(chunk, READ_SIZE);
    mem_free(chunk);
    if (err == TP_OK && step == HTTP_FAILED)
        err =
            err_set(error, TP_PROTOCOL, "the server's answer is not proper HTTP: %s", http_response_parser_why(parser));
    return err;
}

static enum tp_err code_of_status(int status)
{
#define X(symbol, wire, http, text)               \
    if (status == (http) && TP_##symbol != TP_OK) \
        return TP_##symbol;
    TP_ERR_LIST(X)
#undef X
    return TP_INTERNAL;
}

/* A sentence from the other side, for a terminal: no control bytes. */
static enum tp_err refused(int status, const json_t *json, struct tp_error *error)
{
    const json_t *said = json_object_get(json, "error");
    const char *message = json_get_text(said, "message", NULL);
    const char *code = json_get_text(said, "code", NULL);
    enum tp_err err = code ? err_from_name(code) : code_of_status(status);
    char text[sizeof(error->text)];
    size_t used = 0;
    if (err == TP_OK)
        err = TP_INTERNAL;
    if (!message)
        return err_set(error, err, "the server answered %d %s", status,
                       status == 404 ? "(no such page)" : err_text(code_of_status(status)));
    for (; *message && used < sizeof(text) - 1; message++)
        text[used++] = (char)((uint8_t)*message < 0x20 || *message == 0x7f ? ' ' : *message);
    text[used] = '\0';
    return err_set(error, err, "%s", text);
}

static enum tp_err take_answer(const struct http_response *response, json_t **ret_json, struct buf *raw,
                               struct tp_error *error)
{
    const void *body = buf_head(&response->body);
    size_t size = buf_size(&response->body);
    json_t *json = size > 0 ? json_loadb(body, size, JSON_REJECT_DUPLICATES, NULL) : NULL;
    enum tp_err err = TP_OK;
    if (response->status >= 400)
        err = refused(response->status, json, error);
    else if (response->status >= 300)
        err = err_set(error, TP_PROTOCOL, "the server sent us elsewhere (%d); is the address right?", response->status);
    else if (raw && buf_append(raw, body, size) != TP_OK)
        err = err_set(error, TP_TOO_LARGE, "the server's answer is too large");
    if (err == TP_OK && ret_json)
        *ret_json = json;
    else
        json_decref(json);
    return err;
}

enum tp_err http_client_request_io(const struct http_io *io, const struct http_call *call, int *ret_status,
                                   json_t **ret_json, struct buf *raw, struct tp_error *error)
{
    struct http_response_parser *parser =
        http_response_parser_new(HTTP_CLIENT_BODY_MAX, strcmp(call->method, "HEAD") == 0);
    struct buf out;
    enum tp_err err;
    buf_init(&out, 0);
    if (ret_status)
        *ret_status = 0;
    if (ret_json)
        *ret_json = NULL;
    err = write_call(&out, call, error);
    if (err == TP_OK)
        err = io->write(io->ctx, buf_head(&out), buf_size(&out), error);
    buf_wipe(&out);
    if (err == TP_OK)
        err = read_answer(io, parser, error);
    if (err == TP_OK) {
        const struct http_response *response = http_response_parser_response(parser);
        if (ret_status)
            *ret_status = response->status;
        err = take_answer(response, ret_json, raw, error);
    }
    http_response_parser_free(parser);
    return err;
}

enum tp_err http_client_rpc_io(const struct http_io *io, const char *host, const char *method, json_t *params,
                               json_t **ret_result, struct tp_error *error)
{
    char *path = mem_printf("/v1/webapi/rpc/%s", method);
    json_t *body = params ? params : json_object();
    json_t *result = NULL;
    struct http_call call = {.host = host, .method = "POST", .path = path, .body = body};
    enum tp_err err = http_client_request_io(io, &call, NULL, &result, NULL, error);
    if (err == TP_OK && !json_is_object(result))
        err = err_set(error, TP_PROTOCOL, "the server's answer is not a JSON object");
    if (err == TP_OK)
        *ret_result = result;
    else
        json_decref(result);
    json_decref(body);
    mem_free(path);
    return err;
}
