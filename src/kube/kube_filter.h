/*
 * Leaves out of an answer what the person may not see: items of a list, rows of a table, events of a watch, in JSON and in
 * protobuf. A list is collected (at most KUBE_LIST_MAX bytes) and given on when it has ended; a watch is given on event by
 * event. What is not understood is an error, never passed on.
 *
 * The agent must see to it that the answer is not compressed ("Accept-Encoding: identity") and that tables carry metadata:
 * kube_filter_query changes includeObject=None.
 *
 * Where the next page of a list begins is said by a token (metadata.continue) that holds the name of an object, perhaps of
 * one that is not shown. It goes through struct kube_filter_pages both ways, and how many objects remain is left out.
 */
#ifndef KUBE_FILTER_H
#define KUBE_FILTER_H

#include "base/buf.h"
#include "kube/kube_path.h"

#define KUBE_LIST_MAX ((size_t)64 * 1024 * 1024)
#define KUBE_EVENT_MAX ((size_t)8 * 1024 * 1024)

/* Closes tokens to those who get them, and opens them again. Both results: mem_free them. */
struct kube_filter_pages {
    char *(*hide)(void *ctx, const char *token);
    char *(*show)(void *ctx, const char *hidden); /* NULL: hide did not make it */
    void *ctx;
};

struct kube_filter;

/* For an answer with status 200 to request, which rules let through to be filtered, or to one for a list with 410 (it holds a
 * token, too). These and pages must outlive it. content_type is the answer's header. TP_INVALID when answers of that type can't
 * be filtered. Free it with kube_filter_free. */
enum tp_err kube_filter_new(const struct rbac_kube_rules *rules, const struct kube_request *request,
                            const char *content_type, const struct kube_filter_pages *pages,
                            struct kube_filter **ret_filter, struct tp_error *error) TP_MUST;
void kube_filter_free(struct kube_filter *filter); /* NULL is fine */

/* Takes the next bytes of the body, in pieces of any size, and appends to out what may go on. TP_INVALID when they can't
 * be understood, TP_TOO_LARGE past the bounds: then the answer must end here. */
enum tp_err kube_filter_feed(struct kube_filter *filter, const void *data, size_t size, struct buf *out,
                             struct tp_error *error) TP_MUST;
/* The body has ended: appends what is left. TP_INVALID when it ended too early. */
enum tp_err kube_filter_end(struct kube_filter *filter, struct buf *out, struct tp_error *error) TP_MUST;

/* Bytes that it has taken and not yet given on. */
size_t kube_filter_kept(const struct kube_filter *filter) TP_MUST;

/* The raw query to send instead of query (may be NULL) when the answer will be filtered: includeObject, the choice of what
 * rows of a table carry, is made to be metadata, and the token of a page is opened. mem_free it. NULL: the token is none that
 * pages made, or no longer. */
char *kube_filter_query(const char *query, const struct kube_filter_pages *pages) TP_MUST;

#endif
