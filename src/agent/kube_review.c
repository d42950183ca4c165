/*
 * "May I?" (kubectl auth can-i): the cluster answers for the users and groups that the person has there and knows nothing of
 * the roles' kubernetes_resources. What these refuse is answered here; all else is the cluster's to say. Its list of all that
 * the person may do (--list) comes with a warning.
 */
#include "agent/kube_body.h"
#include "agent/kube_priv.h"

#include "base/mem.h"

#include <string.h>

bool kube_review_is_limited(const struct kube_conn *conn)
{
    return kube_request_is_access_review(conn->x.request) && strcmp(conn->x.request->verb, "create") == 0 &&
           !rbac_kube_rules_open(conn->rules);
}

const char *kube_review_warning(const struct kube_conn *conn)
{
    return kube_request_is_rules_review(conn->x.request) && !rbac_kube_rules_open(conn->rules)
               ? "tport: this is what the cluster allows; your roles let you do only a part of it (kubectl auth can-i "
                 "VERB RESOURCE knows both)"
               : NULL;
}

/* The verb of rules: sessions have one of their own, whatever the method that opens them. */
static const char *verb_of(const char *resource, const char *subresource, const char *verb)
{
    if (strcmp(resource, "pods") != 0) {
        return verb;
    }
    return strcmp(subresource, "exec") == 0 || strcmp(subresource, "attach") == 0 ? "exec"
           : strcmp(subresource, "portforward") == 0                              ? "portforward"
                                                                                  : verb;
}

/* Appends the sentence when the rules refuse it, whatever the name; else nothing. */
static void put_refusal(const struct rbac_kube_rules *rules, const json_t *attributes, struct buf *out)
{
    const char *resource = json_get_text(attributes, "resource", "");
    const char *subresource = json_get_text(attributes, "subresource", "");
    const char *name = json_get_text(attributes, "name", "");
    const char *space = json_get_text(attributes, "namespace", "");
    const char *verb = json_get_text(attributes, "verb", "");
    struct rbac_kube_request asked = {
        .kind = resource,
        .api_group = json_get_text(attributes, "group", ""),
        .name_space = space,
        .name = name,
        .verb = verb_of(resource, subresource, verb),
        .collection = name[0] == '\0', /* any of them */
    };
    if (rbac_kube_check(rules, &asked) == RBAC_KUBE_DENY) {
        const struct kube_wish wish = {verb, asked.api_group, resource, subresource, name, space};
        char *text = kube_wish_refusal(&wish);
        (void)buf_printf(out, "tport: %s", text);
        mem_free(text);
    }
}

static char *no(const struct kube_request *request, json_t *attributes, const char *reason)
{
    char *version = mem_printf("%s/%s", request->api_group, request->version);
    json_t *body =
        json_pack("{s:s, s:s, s:{}, s:{s:O}, s:{s:b, s:s}}", "kind", "SelfSubjectAccessReview", "apiVersion", version,
                  "metadata", "spec", "resourceAttributes", attributes, "status", "allowed", 0, "reason", reason);
    char *text = json_text(body);
    json_decref(body);
    mem_free(version);
    return text;
}

char *kube_review_refusal(const struct kube_conn *conn)
{
    const struct kube_exchange *x = &conn->x;
    json_t *attributes = kube_body_attributes(x->held_type, buf_head(&x->held), buf_size(&x->held));
    struct buf reason;
    char *answer = NULL;
    if (attributes == NULL) {
        return NULL;
    }
    buf_init(&reason, 0);
    put_refusal(conn->rules, attributes, &reason);
    if (buf_size(&reason) > 0) {
        answer = no(x->request, attributes, buf_text(&reason));
    }
    buf_free(&reason);
    json_decref(attributes);
    return answer;
}
