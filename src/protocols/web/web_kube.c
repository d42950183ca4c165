/* What a kubeconfig needs that the browser writes: it made the key, which it keeps, and gets a certificate for it. */
#include "base/mem.h"
#include "protocols/web/web_priv.h"

enum tp_err web_kubeconfig_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    enum tp_err err = web_check_cluster(request, error);
    if (err == TP_OK)
        *ret_params = json_pack("{s:s, s:s}", "kube_cluster", json_get_text(request->body, "kube_cluster", ""),
                                "tls_pub_key", json_get_text(request->body, "tls_pub_key", ""));
    return err;
}

void web_kubeconfig_finish(struct web_request *request, json_t *result)
{
    struct tp_error error = {0};
    struct buf pem;
    buf_init(&pem, 0);
    if (web_host_cas(&pem, result) != TP_OK) {
        (void)err_set(&error, TP_INTERNAL, "the cluster's certificates cannot be read");
        web_answer_error(request, &error);
    } else {
        web_answer_json(request, 200,
                        json_pack("{s:s, s:s, s:s, s:s, s:s}", "certificate", json_get_text(result, "tls_cert", ""),
                                  "validUntil", json_get_text(result, "valid_until", ""), "server",
                                  web_options(request)->public_addr, "serverName",
                                  json_get_text(result, "server_name", ""), "certificateAuthority", buf_text(&pem)));
    }
    buf_free(&pem);
}
