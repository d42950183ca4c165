/*
 * What a request to the Kubernetes API asks for: resource, namespace, name, verb. It reads paths as the API server does
 * (k8s.io/apiserver's RequestInfo), and refuses those that two readers could understand differently.
 */
#ifndef KUBE_PATH_H
#define KUBE_PATH_H

#include "rbac/kube.h"

struct kube_request {
    const char *method; /* the caller's, of kube_request_parse */
    char *path;         /* canonical, without the query */
    char *api_group;    /* "" for the core and for what is no resource */
    char *version;      /* "v1" */
    char *ns;           /* "": cluster-wide, all namespaces, or no resource */
    char *resource;     /* plural, "pods"; "": no resource (discovery, /version, /healthz ...) */
    char *subresource;  /* "exec", "log", "status" ... or "" */
    char *kind;         /* for people and events: "pods/exec" */
    char *name;         /* "": none is named */
    const char
        *verb;       /* as rules know it: get list watch create update patch delete deletecollection exec portforward */
    bool collection; /* list, watch or deletecollection of what no name limits */
    bool is_watch;
    bool audited;  /* worth an event: all but discovery and health */
    char *object;  /* the name for rules, when it is not name: a proxied service, pod or node without scheme and port */
    char *proxied; /* of nodes/proxy: the path on the kubelet, without the first slash; else NULL */
    bool node_port;  /* of nodes/proxy: the name says another port or scheme than the kubelet's */
    char *container; /* of exec, attach, log; "" when the query names none */
    char *command;   /* of exec: its words joined by blanks; NULL: none */
    bool tty;        /* exec; attach: what the client thinks */
    char **ports;    /* of portforward over WebSocket's query, as written */
    size_t port_count;
};

/* Reads method, path and raw query (NULL: none) of a request. path is percent-decoded and canonical already
 * (http_path_canonical). TP_INVALID, with a sentence for the person, for methods and forms that are not served. The
 * result is the caller's (kube_request_free); only method stays his own and must outlive it. */
enum tp_err kube_request_parse(const char *method, const char *path, const char *query,
                               struct kube_request **ret_request, struct tp_error *error) TP_MUST;
/* NULL is fine. */
void kube_request_free(struct kube_request *request);

/* The path behind it is another server's (pods/proxy, services/proxy, nodes/proxy): anything may come, as slowly as it
 * likes. */
bool kube_request_is_proxied(const struct kube_request *request) TP_MUST;
/* exec, attach or portforward of a pod: it needs an upgrade and is put on record as a session. */
bool kube_request_is_session(const struct kube_request *request) TP_MUST;
/* It asks what one is or may do oneself: always allowed, as it tells nothing that trying would not. */
bool kube_request_is_about_oneself(const struct kube_request *request) TP_MUST;
/* It asks whether one may do one certain thing oneself. */
bool kube_request_is_access_review(const struct kube_request *request) TP_MUST;
/* It asks for all that one may do oneself. */
bool kube_request_is_rules_review(const struct kube_request *request) TP_MUST;

/* What somebody wanted to do. Texts are borrowed; "" where there is none. */
struct kube_wish {
    const char *verb;
    const char *api_group;
    const char *resource;
    const char *subresource;
    const char *name;
    const char *ns;
};
/* "your roles do not let you list deployments.apps in namespace default": one name may stand in several groups, such as
 * pods and pods.metrics.k8s.io. mem_free it. */
char *kube_wish_refusal(const struct kube_wish *wish) TP_MUST;

/* Asks the rules of a grant. RBAC_KUBE_DENY comes with a sentence in error; RBAC_KUBE_FILTER is for lists and watches
 * only. What is no resource is allowed, for the API server decides about it under the person's own name; but rules that are
 * limited give no files of its host (/logs). Asking what one may do oneself is always allowed. Behind nodes/proxy is the
 * kubelet with all pods of its node: its ways to run commands are never allowed, for they are no sessions on record, and
 * rules that are limited give its state alone. */
enum rbac_kube_answer kube_request_check(const struct rbac_kube_rules *rules, const struct kube_request *request,
                                         struct tp_error *error) TP_MUST;
/* May this item of the request's answer be shown? For filters. */
bool kube_request_check_item(const struct rbac_kube_rules *rules, const struct kube_request *request, const char *ns,
                             const char *name) TP_MUST;

#endif
