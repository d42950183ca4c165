#include "agent/kube_upstream.h"

#include "base/log.h"
#include "base/mem.h"
#include "core/dial.h"
#include "tls/tls_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECT_MS 10000 /* dialling, and the handshake */
#define IDLE_MS 30000
#define IDLE_MAX 32 /* kept per cluster */
#define SECRET_MAX ((size_t)256 * 1024)

/* A file that somebody else rotates. */
struct secret_file {
    const char *path; /* of the configuration; NULL: none */
    char *text;
    struct stat seen;
    bool warned;
};

enum { FILE_CA, FILE_CERT, FILE_KEY, FILE_TOKEN, FILE_COUNT };

struct kube_cluster {
    struct loop *loop;
    const struct kube_cluster_conf *conf;
    struct secret_file files[FILE_COUNT];
    struct tls_context *tls;
    char *authorization;
    struct kube_upstream *idle; /* the one used last is first */
    size_t idle_count;
    struct timer *sweep;
};

struct kube_upstream {
    struct kube_cluster *cluster;
    struct kube_upstream *next; /* in the idle list */
    const struct kube_upstream_events *events;
    void *ctx;
    struct dial *dial;
    struct stream *stream;
    struct timer *deadline; /* of the handshake */
    struct later opened;    /* on_open of a connection that was idle */
    int64_t idle_since_ms;
    bool open;
    bool used;
    bool idle;
    bool paused;
};

/* ---- credentials ---- */

static enum tp_err read_text(const char *path, char **ret_text, struct stat *ret_stat, struct tp_error *error)
{
    /* Not blocking: a pipe without a writer in the file's place would hold up all that the agent does. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct buf text;
    enum tp_err err = TP_OK;
    if (fd < 0) {
        return err_errno(error, errno, "%s can't be read", path);
    }
    buf_init(&text, SECRET_MAX);
    if (fstat(fd, ret_stat) != 0 || !S_ISREG(ret_stat->st_mode)) {
        err = err_set(error, TP_INVALID, "%s is no file", path);
    }
    while (err == TP_OK) {
        uint8_t *at = buf_reserve(&text, 4096);
        ssize_t n = at != NULL ? read(fd, at, 4096) : -1;
        if (at == NULL) {
            err = err_set(error, TP_TOO_LARGE, "%s is too large", path);
        } else if (n > 0) {
            buf_commit(&text, (size_t)n);
        } else if (n == 0) {
            break;
        } else if (errno != EINTR) {
            err = err_errno(error, errno, "%s can't be read", path);
        }
    }
    (void)close(fd);
    if (err == TP_OK && (buf_size(&text) == 0 || memchr(buf_head(&text), '\0', buf_size(&text)) != NULL)) {
        err = err_set(error, TP_INVALID, "%s is empty or no text", path);
    }
    if (err == TP_OK) {
        *ret_text = mem_strndup((const char *)buf_head(&text), buf_size(&text));
    }
    buf_wipe(&text);
    return err;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Reads the file again when it has changed; *changed is set then. A file that can't be read just now keeps what it said. */
static enum tp_err refresh(struct secret_file *file, bool *changed, struct tp_error *error)
{
    struct stat now;
    char *text = NULL;
    struct tp_error why = {0};
    if (file->path == NULL || (file->text != NULL && stat(file->path, &now) == 0 && is_same_file(&now, &file->seen))) {
        return TP_OK;
    }
    if (read_text(file->path, &text, &now, &why) != TP_OK) {
        if (file->text == NULL) {
            return err_set(error, TP_UNAVAILABLE, "%s", why.text);
        }
        if (!file->warned) {
            log_warn("credentials of a cluster can't be read again", "error=\"%s\"", why.text);
        }
        file->warned = true;
        return TP_OK;
    }
    file->warned = false;
    file->seen = now;
    *changed = *changed || file->text == NULL || strcmp(file->text, text) != 0;
    secret_free(file->text);
    file->text = text;
    return TP_OK;
}

enum tp_err kube_cluster_authorization(struct kube_cluster *cluster, const char **ret_value, struct tp_error *error)
{
    bool changed = false;
    struct secret_file *file = &cluster->files[FILE_TOKEN];
    enum tp_err err = refresh(file, &changed, error);
    if (err != TP_OK) {
        return err;
    }
    const char *token = file->text != NULL ? file->text : cluster->conf->token;
    if (token != NULL && (changed || cluster->authorization == NULL)) {
        size_t length = strcspn(token, " \t\r\n");
        secret_free(cluster->authorization);
        cluster->authorization = NULL;
        if (length == 0 || token[length + strspn(token + length, " \t\r\n")] != '\0') {
            return err_set(error, TP_UNAVAILABLE, "%s holds no bearer token",
                           file->path != NULL ? file->path : "the kubeconfig");
        }
        cluster->authorization = mem_printf("Bearer %.*s", (int)length, token);
    }
    *ret_value = cluster->authorization;
    return TP_OK;
}

static void drop_idle(struct kube_cluster *cluster)
{
    while (cluster->idle != NULL) {
        kube_upstream_close(cluster->idle);
    }
}

/* The TLS context, made anew when CA, certificate or key have changed. */
static enum tp_err renew_tls(struct kube_cluster *cluster, struct tp_error *error)
{
    const struct kube_cluster_conf *conf = cluster->conf;
    bool changed = cluster->tls == NULL;
    for (int i = FILE_CA; i <= FILE_KEY; i++) {
        enum tp_err err = refresh(&cluster->files[i], &changed, error);
        if (err != TP_OK) {
            return err;
        }
    }
    if (!changed || conf->plain) {
        return TP_OK;
    }
    static const char *const alpn[] = {"http/1.1", NULL};
    struct tls_context_options options = {
        .cert_pem = conf->cert_pem != NULL ? conf->cert_pem : cluster->files[FILE_CERT].text,
        .key_pem = conf->key_pem != NULL ? conf->key_pem : cluster->files[FILE_KEY].text,
        .ca_pems = conf->ca_pem != NULL ? conf->ca_pem : cluster->files[FILE_CA].text,
        .alpn = alpn,
        .peer = conf->insecure ? TLS_PEER_ANY : TLS_PEER_SERVER,
        .resume = true,
    };
    struct tls_context *fresh = NULL;
    struct tp_error why = {0};
    if (tls_context_new(&options, &fresh, &why) != TP_OK) {
        /* In the middle of a rotation certificate and key may belong to different pairs. */
        if (cluster->tls != NULL) {
            log_warn("new credentials of a cluster can't be used yet", "cluster=\"%s\" error=\"%s\"", conf->name,
                     why.text);
            cluster->files[FILE_CERT].seen = (struct stat){0};
            return TP_OK;
        }
        return err_set(error, TP_UNAVAILABLE, "the credentials for %s can't be used: %s", conf->name, why.text);
    }
    tls_context_free(cluster->tls);
    cluster->tls = fresh;
    drop_idle(cluster);
    return TP_OK;
}

/* ---- one connection ---- */

static void upstream_free(struct kube_upstream *upstream)
{
    dial_cancel(upstream->dial);
    timer_free(upstream->deadline);
    later_cancel(&upstream->opened);
    mem_free(upstream);
}

static void ended(struct kube_upstream *upstream, enum tp_err code, const char *text)
{
    const struct kube_cluster_conf *conf = upstream->cluster->conf;
    struct tp_error error = {0};
    (void)err_set(&error, code, "the API server of %s (%s port %u) %s", conf->name, conf->host, conf->port, text);
    const struct kube_upstream_events *events = upstream->events;
    void *ctx = upstream->ctx;
    upstream_free(upstream);
    events->on_close(ctx, &error);
}

static void on_stream_ready(void *ctx)
{
    struct kube_upstream *upstream = ctx;
    timer_free(upstream->deadline);
    upstream->deadline = NULL;
    upstream->open = true;
    upstream->events->on_open(upstream->ctx);
}

static void on_stream_data(void *ctx, const uint8_t *data, size_t size)
{
    struct kube_upstream *upstream = ctx;
    if (upstream->idle) {
        kube_upstream_close(upstream); /* nobody asked */
    } else {
        upstream->events->on_data(upstream->ctx, data, size);
    }
}

static void on_stream_eof(void *ctx)
{
    struct kube_upstream *upstream = ctx;
    if (upstream->idle) {
        kube_upstream_close(upstream);
    } else {
        upstream->events->on_eof(upstream->ctx);
    }
}

static void on_stream_drain(void *ctx)
{
    struct kube_upstream *upstream = ctx;
    if (!upstream->idle) {
        upstream->events->on_drain(upstream->ctx);
    }
}

static void on_stream_close(void *ctx, enum close_reason reason)
{
    struct kube_upstream *upstream = ctx;
    const char *why = tls_stream_failure(upstream->stream);
    upstream->stream = NULL;
    if (upstream->idle) {
        kube_upstream_close(upstream);
    } else if (upstream->open) {
        ended(upstream, TP_UNAVAILABLE, "closed the connection");
    } else if (reason == CLOSE_TARGET_TIMEOUT) {
        ended(upstream, TP_TIMEOUT, "does not answer the TLS handshake");
    } else {
        char *text = mem_printf("can't be reached by TLS: %s", why[0] != '\0' ? why : close_text(reason));
        ended(upstream, TP_UNAVAILABLE, text);
        mem_free(text);
    }
}

static const struct stream_events stream_events = {
    .on_ready = on_stream_ready,
    .on_data = on_stream_data,
    .on_eof = on_stream_eof,
    .on_drain = on_stream_drain,
    .on_close = on_stream_close,
};

/* A stream that nobody wants any more. */
static void on_orphan_close(void *ctx, enum close_reason reason)
{
    (void)ctx;
    (void)reason;
}

static const struct stream_events orphan_events = {.on_close = on_orphan_close};

static void on_handshake_late(void *ctx)
{
    struct kube_upstream *upstream = ctx;
    stream_close(upstream->stream, CLOSE_TARGET_TIMEOUT);
}

static void on_dialled(void *ctx, int fd, const struct tp_error *error)
{
    struct kube_upstream *upstream = ctx;
    struct kube_cluster *cluster = upstream->cluster;
    upstream->dial = NULL;
    if (error != NULL && error->code == TP_TIMEOUT) {
        ended(upstream, TP_TIMEOUT, "does not answer");
        return;
    }
    if (error != NULL) {
        char *text = mem_printf("can't be reached: %s", error->text);
        ended(upstream, TP_UNAVAILABLE, text);
        mem_free(text);
        return;
    }
    upstream->deadline = timer_new(cluster->loop, on_handshake_late, upstream);
    timer_start(upstream->deadline, CONNECT_MS, 0);
    upstream->stream = cluster->conf->plain ? stream_new(cluster->loop, fd, &stream_events, upstream)
                                            : tls_stream_new(cluster->loop, fd, cluster->tls,
                                                             cluster->conf->server_name, &stream_events, upstream);
}

static void on_opened(void *ctx)
{
    struct kube_upstream *upstream = ctx;
    upstream->events->on_open(upstream->ctx);
}

/* ---- the pool ---- */

static void unlink_idle(struct kube_upstream *upstream)
{
    struct kube_upstream **at = &upstream->cluster->idle;
    while (*at != upstream) {
        at = &(*at)->next;
    }
    *at = upstream->next;
    upstream->idle = false;
    upstream->cluster->idle_count--;
}

/* Nothing waits to be read: neither a byte that nobody asked for nor the end. */
static bool is_quiet(const struct stream *stream)
{
    char byte;
    return recv(stream_fd(stream), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void on_sweep(void *ctx)
{
    struct kube_cluster *cluster = ctx;
    int64_t now = loop_now_ms(cluster->loop);
    struct kube_upstream *next;
    for (struct kube_upstream *upstream = cluster->idle; upstream != NULL; upstream = next) {
        next = upstream->next;
        if (now - upstream->idle_since_ms >= IDLE_MS) {
            kube_upstream_close(upstream);
        }
    }
    if (cluster->idle == NULL) {
        timer_stop(cluster->sweep);
    }
}

enum tp_err kube_upstream_get(struct kube_cluster *cluster, bool fresh, const struct kube_upstream_events *events,
                              void *ctx, struct kube_upstream **ret_upstream, struct tp_error *error)
{
    enum tp_err err = renew_tls(cluster, error);
    if (err != TP_OK) {
        return err;
    }
    struct kube_upstream *upstream = fresh ? NULL : cluster->idle;
    while (upstream != NULL && !is_quiet(upstream->stream)) {
        kube_upstream_close(upstream);
        upstream = cluster->idle;
    }
    if (upstream != NULL) {
        unlink_idle(upstream);
        upstream->events = events;
        upstream->ctx = ctx;
        upstream->opened = (struct later){.fn = on_opened, .ctx = upstream};
        later_run(cluster->loop, &upstream->opened);
        *ret_upstream = upstream;
        return TP_OK;
    }
    upstream = mem_alloc(sizeof(*upstream));
    upstream->cluster = cluster;
    upstream->events = events;
    upstream->ctx = ctx;
    upstream->dial =
        dial_start(cluster->loop, cluster->conf->host, cluster->conf->port, CONNECT_MS, on_dialled, upstream);
    *ret_upstream = upstream;
    return TP_OK;
}

void kube_upstream_put(struct kube_upstream *upstream)
{
    struct kube_cluster *cluster = upstream->cluster;
    if (!upstream->open || stream_is_closing(upstream->stream) || cluster->idle_count >= IDLE_MAX) {
        kube_upstream_close(upstream);
        return;
    }
    kube_upstream_resume(upstream);
    upstream->used = true;
    upstream->idle = true;
    upstream->idle_since_ms = loop_now_ms(cluster->loop);
    upstream->next = cluster->idle;
    cluster->idle = upstream;
    cluster->idle_count++;
    if (!timer_is_active(cluster->sweep)) {
        timer_start(cluster->sweep, IDLE_MS / 3, IDLE_MS / 3);
    }
}

void kube_upstream_close(struct kube_upstream *upstream)
{
    if (upstream == NULL) {
        return;
    }
    if (upstream->idle) {
        unlink_idle(upstream);
    }
    if (upstream->stream != NULL) {
        stream_set_events(upstream->stream, &orphan_events, NULL);
        stream_close(upstream->stream, CLOSE_DONE);
    }
    upstream_free(upstream);
}

bool kube_upstream_was_used(const struct kube_upstream *upstream)
{
    return upstream->used;
}

void kube_upstream_set_events(struct kube_upstream *upstream, const struct kube_upstream_events *events, void *ctx)
{
    upstream->events = events;
    upstream->ctx = ctx;
}

void kube_upstream_write(struct kube_upstream *upstream, const void *data, size_t size)
{
    stream_write(upstream->stream, data, size);
}

bool kube_upstream_is_open(const struct kube_upstream *upstream)
{
    return upstream->open;
}

bool kube_upstream_is_full(const struct kube_upstream *upstream)
{
    return !upstream->open || stream_is_full(upstream->stream);
}

void kube_upstream_pause(struct kube_upstream *upstream)
{
    if (!upstream->paused && upstream->stream != NULL) {
        upstream->paused = true;
        stream_pause(upstream->stream);
    }
}

void kube_upstream_resume(struct kube_upstream *upstream)
{
    if (upstream->paused) {
        upstream->paused = false;
        stream_resume(upstream->stream);
    }
}

void kube_upstream_shutdown(struct kube_upstream *upstream)
{
    stream_shutdown(upstream->stream);
}

/* ---- clusters ---- */

struct kube_cluster *kube_cluster_new(struct loop *loop, const struct kube_cluster_conf *conf)
{
    struct kube_cluster *cluster = mem_alloc(sizeof(*cluster));
    cluster->loop = loop;
    cluster->conf = conf;
    cluster->files[FILE_CA].path = conf->ca_file;
    cluster->files[FILE_CERT].path = conf->cert_file;
    cluster->files[FILE_KEY].path = conf->key_file;
    cluster->files[FILE_TOKEN].path = conf->token_file;
    cluster->sweep = timer_new(loop, on_sweep, cluster);
    return cluster;
}

void kube_cluster_free(struct kube_cluster *cluster)
{
    if (cluster == NULL) {
        return;
    }
    drop_idle(cluster);
    for (int i = 0; i < FILE_COUNT; i++) {
        secret_free(cluster->files[i].text);
    }
    secret_free(cluster->authorization);
    tls_context_free(cluster->tls);
    timer_free(cluster->sweep);
    mem_free(cluster);
}

const struct kube_cluster_conf *kube_cluster_conf(const struct kube_cluster *cluster)
{
    return cluster->conf;
}
