/* The client over src/tls/tls_client.h. */
#include "protocols/http/http_client.h"
#include "tls/tls_client.h"

static enum tp_err read_tls(void *ctx, void *data, size_t size, size_t *ret_size, struct tp_error *error)
{
    return tls_client_read(ctx, data, size, ret_size, error);
}

static enum tp_err write_tls(void *ctx, const void *data, size_t size, struct tp_error *error)
{
    return tls_client_write(ctx, data, size, error);
}

enum tp_err http_client_request(struct tls_client *tls, const struct http_call *call, int *ret_status,
                                json_t **ret_json, struct buf *raw, struct tp_error *error)
{
    struct http_io io = {read_tls, write_tls, tls};
    return http_client_request_io(&io, call, ret_status, ret_json, raw, error);
}

enum tp_err http_client_rpc(struct tls_client *tls, const char *host, const char *method, json_t *params,
                            json_t **ret_result, struct tp_error *error)
{
    struct http_io io = {read_tls, write_tls, tls};
    return http_client_rpc_io(&io, host, method, params, ret_result, error);
}
