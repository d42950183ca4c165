/* What the files of the filter share. */
#ifndef KUBE_FILTER_PRIV_H
#define KUBE_FILTER_PRIV_H

#include "kube/kube_filter.h"

struct kube_filter {
    const struct rbac_kube_rules *rules;
    const struct kube_request *request;
    const struct kube_filter_pages *pages;
    bool protobuf;
    struct buf in;  /* the list so far, or the event */
    unsigned depth; /* of braces in a JSON watch */
    size_t scanned; /* bytes of in that are counted already */
    bool in_text;   /* inside a JSON string */
    bool escaped;   /* behind a backslash */
};

/* May it be shown? ns and name may be NULL. */
bool kube_filter_shows(const struct kube_filter *filter, const char *ns, const char *name);

/* A whole list or table; appends what is left of it. */
enum tp_err kube_filter_json_list(struct kube_filter *filter, const uint8_t *data, size_t size, struct buf *out,
                                  struct tp_error *error) TP_MUST;
/* One event of a watch; appends it, or what is left of it, or nothing. */
enum tp_err kube_filter_json_event(struct kube_filter *filter, const uint8_t *data, size_t size, struct buf *out,
                                   struct tp_error *error) TP_MUST;
/* The same in protobuf: a message behind "k8s\0", and a metav1.WatchEvent without its length. */
enum tp_err kube_filter_proto_list(struct kube_filter *filter, const uint8_t *data, size_t size, struct buf *out,
                                   struct tp_error *error) TP_MUST;
/* ret_show: the event goes on as it is. */
enum tp_err kube_filter_proto_event(struct kube_filter *filter, const uint8_t *data, size_t size, bool *ret_show,
                                    struct tp_error *error) TP_MUST;

#endif
