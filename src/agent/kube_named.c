/*
 * The event about a create names its object, and that is said in the body. Where the roles need not know the name the body passes
 * on as it comes, and a copy of it is kept until it is complete: of what is small, as nearly all objects are.
 */
#include "agent/kube_body.h"
#include "agent/kube_priv.h"

#include "base/mem.h"

#include <string.h>

#define COPY_MAX ((size_t)256 * 1024)
#define NAME_MAX_SHOWN 512 /* bytes; API servers take 253 */

void kube_named_as(struct kube_conn *conn, const char *name)
{
    struct kube_request *request = conn->x.request;
    if (strlen(name) <= NAME_MAX_SHOWN) {
        mem_free(request->name);
        request->name = mem_strdup(name);
    }
}

void kube_named_begin(struct kube_conn *conn)
{
    struct kube_exchange *x = &conn->x;
    if (x->body_done || !kube_request_is_audited(conn) || !kube_request_is_create(x->request) ||
        x->request->name[0] != '\0' || x->request->resource[0] == '\0') {
        return;
    }
    const char *type = http_request_header(http_parser_request(conn->parser), "content-type");
    x->copy_type = mem_strdup(type != NULL ? type : "application/json");
    buf_init(&x->copy, COPY_MAX);
}

void kube_named_free(struct kube_exchange *x)
{
    buf_wipe(&x->copy); /* it may be a Secret */
    mem_free(x->copy_type);
    x->copy_type = NULL;
}

void kube_named_data(struct kube_conn *conn, const void *data, size_t size)
{
    struct kube_exchange *x = &conn->x;
    if (x->copy_type == NULL) {
        return;
    }
    if (!kube_has_room(conn, size) || buf_append(&x->copy, data, size) != TP_OK) {
        kube_named_free(x);
    }
}

void kube_named_end(struct kube_conn *conn)
{
    struct kube_exchange *x = &conn->x;
    struct tp_error ignored = {0};
    char *name = NULL;
    if (x->copy_type == NULL) {
        return;
    }
    if (kube_body_name(x->copy_type, buf_head(&x->copy), buf_size(&x->copy), &name, &ignored) == TP_OK) {
        kube_named_as(conn, name);
        mem_free(name);
    }
    kube_named_free(x);
}
