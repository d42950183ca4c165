#include "cli/common/api.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cli/common/file.h"
#include "cli/common/sni.h"
#include "cli/common/table.h"
#include "core/rpc.h"
#include "protocols/http/http_client.h"
#include "tls/tls_client.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PEM_MAX ((size_t)4 * 1024 * 1024)
#define TIMEOUT_MS INT64_C(30000)
#define GREETING_MS INT64_C(10000)   /* for a connection, the handshake and the first answer of a stranger */
#define KEEP_MS INT64_C(5000)        /* a connection that was idle for longer may be closed on the other side by now */
#define PAGE 5000                    /* the most that auth gives at once */
#define SENT_MAX ((size_t)64 * 1024) /* of standard input, before the server has said a word */
#define REFUSAL_MAX 1024             /* bytes of a line that stands in place of the SSH greeting */

struct api {
    struct tls_client_options options; /* HTTPS; texts belong to texts[] */
    struct buf texts[4];               /* CAs, certificate, key, pin */
    const char *pins[2];
    char *host, *server_name, *verify_name, *alpn, *host_header;
    struct tls_client *tls;
    int64_t used_ms;
    bool hint; /* add the way out to a refused certificate */
    char *home;
    int fd; /* admin socket, or -1 */
};

/* A person who looks at a screen on which nothing happens. */
static void say_who(void *owner)
{
    const struct api *api = owner;
    (void)fprintf(stderr, "Waiting for %s ...\n", api->host_header);
}

static struct api *api_new(void)
{
    struct api *api = mem_alloc(sizeof(*api));
    /* With fast bins each large block that is given back has all small ones sorted anew: a quarter of a long list's time. */
    (void)mallopt(M_MXFAST, 0);
    api->fd = -1;
    for (size_t i = 0; i < sizeof(api->texts) / sizeof(api->texts[0]); i++)
        buf_init(&api->texts[i], PEM_MAX);
    api->options.timeout_ms = GREETING_MS;
    if (isatty(STDERR_FILENO)) {
        api->options.on_wait = say_who;
        api->options.on_wait_owner = api;
    }
    return api;
}

void api_close(struct api *api)
{
    if (!api)
        return;
    tls_client_close(api->tls);
    for (size_t i = 0; i < sizeof(api->texts) / sizeof(api->texts[0]); i++)
        buf_wipe(&api->texts[i]);
    if (api->fd >= 0)
        (void)close(api->fd);
    mem_free(api->host);
    mem_free(api->server_name);
    mem_free(api->verify_name);
    mem_free(api->alpn);
    mem_free(api->host_header);
    mem_free(api->home);
    mem_free(api);
}

static void set_address(struct api *api, const char *host, uint16_t port, const char *server_name, const char *alpn)
{
    bool v6 = strchr(host, ':') != NULL;
    api->host = mem_strdup(host);
    api->server_name = server_name ? mem_strdup(server_name) : NULL;
    api->alpn = mem_strdup(alpn);
    api->host_header = mem_printf("%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", (unsigned)port);
    api->options.host = api->host;
    api->options.port = port;
    api->options.server_name = api->server_name;
    api->options.alpn = api->alpn;
}

/* HOME/trusted/HOST.pem, or HOST_PORT.pem where the port is not 443: the CAs of that proxy. mem_free it. */
static char *trusted_path(const char *home, const char *host, uint16_t port)
{
    return port == 443 ? mem_printf("%s/trusted/%s.pem", home, host)
                       : mem_printf("%s/trusted/%s_%u.pem", home, host, (unsigned)port);
}

/* The CAs of that proxy: its own file, else HOST.pem for any of its ports. Empty: none is there, and the system's count. A
 * file that was put there for one proxy vouches for no other. */
static enum tp_err read_trusted(const struct api_trust *trust, const char *host, uint16_t port, struct buf *out,
                                struct tp_error *error)
{
    char *own = trusted_path(trust->home, host, port);
    enum tp_err err = TP_OK;
    if (!file_exists(own)) {
        mem_free(own);
        own = trusted_path(trust->home, host, 443);
    }
    if (file_exists(own))
        err = file_read(own, out, error);
    mem_free(own);
    return err;
}

static enum tp_err connect_tls(struct api *api, struct tp_error *error)
{
    struct tp_error why = {0};
    enum tp_err err = tls_client_connect(&api->options, &api->tls, &why);
    if (err == TP_OK) {
        tls_client_set_timeout(api->tls, TIMEOUT_MS);
        return TP_OK;
    }
    if (err == TP_DENIED && api->hint) {
        char *own = trusted_path(api->home, api->host, api->options.port);
        err = err_set(error, err, "%s; or put the CA's certificate into %s", why.text, own);
        mem_free(own);
        return err;
    }
    return err_set(error, err, "%s", why.text[0] ? why.text : err_text(err));
}

enum tp_err api_open_web(const char *host, uint16_t port, const struct api_trust *trust, struct api **ret_api,
                         struct tp_error *error)
{
    struct api *api = api_new();
    enum tp_err err = TP_OK;

    set_address(api, host, port, NULL, "http/1.1");
    api->home = mem_strdup(trust->home);
    api->options.insecure = trust->insecure;
    if (trust->ca_pin) {
        (void)buf_append_text(&api->texts[3], trust->ca_pin);
        api->pins[0] = buf_text(&api->texts[3]);
        api->options.ca_pins = api->pins;
    } else if (!trust->insecure) {
        api->hint = true;
        err = read_trusted(trust, host, port, &api->texts[0], error);
        if (err == TP_OK && buf_size(&api->texts[0]) > 0)
            api->options.ca_pem = buf_text(&api->texts[0]);
    }
    if (err == TP_OK)
        err = connect_tls(api, error);
    if (err != TP_OK) {
        api_close(api);
        *ret_api = NULL;
        return err;
    }
    tls_client_set_timeout(api->tls, GREETING_MS);
    api->used_ms = clock_mono_ms();
    *ret_api = api;
    return TP_OK;
}

/* Everything but the connection: files of the profile into api. key NULL: the profile's own key and certificate. */
static enum tp_err prepare_profile(struct api *api, const struct profile *profile, const struct api_key *key,
                                   const char *server_name, const char *alpn, struct tp_error *error)
{
    char *host = NULL;
    uint16_t port = 0;
    enum tp_err err = profile_check_valid(profile, error);
    if (err == TP_OK)
        err = profile_parse_proxy(profile->address, &host, &port, error);
    if (err == TP_OK)
        err = file_read(profile->cas, &api->texts[0], error);
    if (err == TP_OK)
        err = key ? buf_append_text(&api->texts[1], key->cert) : file_read(profile->tls_cert, &api->texts[1], error);
    if (err == TP_OK)
        err = key ? buf_append_text(&api->texts[2], key->key) : file_read(profile->tls_key, &api->texts[2], error);
    if (err == TP_OK) {
        set_address(api, host, port, server_name, alpn);
        api->verify_name = mem_strdup(profile->cluster);
        api->options.verify_name = api->verify_name;
        api->options.ca_pem = buf_text(&api->texts[0]);
        api->options.cert_pem = buf_text(&api->texts[1]);
        api->options.key_pem = buf_text(&api->texts[2]);
    }
    mem_free(host);
    return err;
}

enum tp_err api_open_profile(const struct profile *profile, struct api **ret_api, struct tp_error *error)
{
    struct api *api = api_new();
    enum tp_err err = prepare_profile(api, profile, NULL, profile->cluster, "tport-api", error);
    if (err != TP_OK) {
        api_close(api);
        api = NULL;
    }
    *ret_api = api;
    return err;
}

enum tp_err api_open_socket(const char *path, struct api **ret_api, struct tp_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return err_set(error, TP_INVALID, "the path of the admin socket is too long: %s", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(error, errno, "no socket can be made");
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        int why = errno;
        (void)close(fd);
        if (why == ENOENT || why == ECONNREFUSED)
            return err_set(error, TP_NOT_FOUND,
                           "nothing listens on the admin socket %s: no tportd with auth_service runs there", path);
        return err_errno(error, why, "the admin socket %s can't be used", path);
    }
    *ret_api = api_new();
    (*ret_api)->fd = fd;
    return TP_OK;
}

bool api_is_local(const struct api *api)
{
    return api->fd >= 0;
}

/* A connection for the next call; ret_kept: it has been used before. */
static enum tp_err ready(struct api *api, bool *ret_kept, struct tp_error *error)
{
    *ret_kept = api->tls != NULL;
    if (api->tls && clock_mono_ms() - api->used_ms > KEEP_MS) {
        tls_client_close(api->tls);
        api->tls = NULL;
        *ret_kept = false;
    }
    return api->tls ? TP_OK : connect_tls(api, error);
}

/* After a call: whether the connection may serve the next one, and whether this one is worth a second try. */
static bool again(struct api *api, bool kept, enum tp_err err)
{
    api->used_ms = clock_mono_ms();
    api->options.on_wait = NULL; /* from now on it is known who answers */
    if (err == TP_OK) {
        tls_client_set_timeout(api->tls, TIMEOUT_MS);
        return false;
    }
    tls_client_close(api->tls);
    api->tls = NULL;
    return kept && err == TP_CLOSED;
}

enum tp_err api_web(struct api *api, const char *path, const json_t *body, json_t **ret_json, struct tp_error *error)
{
    struct http_call call = {.host = api->host_header, .method = body ? "POST" : "GET", .path = path, .body = body};
    enum tp_err err;
    bool kept;
    do {
        int status;
        err = ready(api, &kept, error);
        if (err != TP_OK)
            return err;
        err = http_client_request(api->tls, &call, &status, ret_json, NULL, error);
    } while (again(api, kept, err));
    return err;
}

enum tp_err api_rpc(struct api *api, const char *method, json_t *params, json_t **ret_result, struct tp_error *error)
{
    enum tp_err err;
    bool kept;

    *ret_result = NULL;
    if (api->fd >= 0)
        return rpc_blocking(api->fd, method, params, TIMEOUT_MS, ret_result, error);
    do {
        err = ready(api, &kept, error);
        if (err == TP_OK)
            err = http_client_rpc(api->tls, api->host_header, method, json_incref(params), ret_result, error);
        else
            kept = false;
    } while (api->tls && again(api, kept, err));
    json_decref(params);
    return err;
}

enum tp_err api_list(struct api *api, const char *method, json_t *params, size_t limit, json_t **ret_items,
                     struct tp_error *error)
{
    json_t *all = json_array();
    char *start_key = mem_strdup("");
    enum tp_err err = TP_OK;
    bool more = true;

    while (err == TP_OK && more) {
        size_t left = limit ? limit - json_array_size(all) : PAGE;
        json_t *page = json_deep_copy(params), *result, *items;
        (void)json_object_set_new(page, "limit", json_integer((json_int_t)(left < PAGE ? left : PAGE)));
        (void)json_object_set_new(page, "total", json_false());
        if (*start_key)
            (void)json_object_set_new(page, "start_key", json_string(start_key));
        err = api_rpc(api, method, page, &result, error);
        if (err != TP_OK)
            break;
        err = json_need_array(result, "items", &items, error);
        if (err == TP_OK) {
            const char *next = json_get_text(result, "start_key", "");
            /* A key that does not move would ask the same page for ever. */
            more = *next && strcmp(next, start_key) != 0;
            (void)json_array_extend(all, items);
            more = more && (limit == 0 || json_array_size(all) < limit);
            mem_free(start_key);
            start_key = mem_strdup(next);
        }
        json_decref(result);
    }
    mem_free(start_key);
    json_decref(params);
    if (err != TP_OK) {
        json_decref(all);
        return err;
    }
    *ret_items = all;
    return TP_OK;
}

static enum tp_err write_fd(int fd, const void *data, size_t size, struct tp_error *error)
{
    const uint8_t *at = data;
    while (size > 0) {
        ssize_t done = write(fd, at, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_errno(error, errno, "standard output can't be written");
        at += done;
        size -= (size_t)done;
    }
    return TP_OK;
}

/* The first bytes of the server decide: SSH, or one line of refusal. True when more bytes are needed. */
static bool undecided(const struct buf *first)
{
    static const char refusal[] = "tport: ";
    size_t size = buf_size(first);
    size_t compared = size < sizeof(refusal) - 1 ? size : sizeof(refusal) - 1;
    if (memcmp(buf_head(first), refusal, compared) != 0)
        return false;
    return compared < sizeof(refusal) - 1 || (!memchr(buf_head(first), '\n', size) && size < REFUSAL_MAX);
}

/* What is read of standard input is kept in sent: a further connection begins with it. */
static enum tp_err pass_input(struct tls_client *tls, struct buf *sent, struct pollfd *input, struct tp_error *error)
{
    uint8_t chunk[4096];
    size_t room = SENT_MAX - buf_size(sent);
    ssize_t got = read(STDIN_FILENO, chunk, room < sizeof(chunk) ? room : sizeof(chunk));
    if (got > 0) {
        enum tp_err err = buf_append(sent, chunk, (size_t)got);
        if (buf_size(sent) >= SENT_MAX)
            input->fd = -1; /* the rest waits for the server's first word */
        return err == TP_OK ? tls_client_write(tls, chunk, (size_t)got, error) : err;
    }
    if (got == 0 || errno != EINTR)
        input->fd = -1; /* the relay meets the end again and passes it on */
    return TP_OK;
}

/* Relays the client's bytes while the first ones of the server are awaited, so that no round trip is lost. */
static enum tp_err first_bytes(struct tls_client *tls, struct buf *sent, struct buf *first, struct tp_error *error)
{
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = tls_client_fd(tls), .events = POLLIN}};
    enum tp_err err = buf_size(sent) > 0 ? tls_client_write(tls, buf_head(sent), buf_size(sent), error) : TP_OK;
    bool end = false;

    while (err == TP_OK && !end && undecided(first)) {
        uint8_t chunk[4096];
        size_t size = 0;
        if (tls_client_pending(tls) == 0 && poll(fds, 2, -1) < 0) {
            if (errno != EINTR)
                return err_errno(error, errno, "waiting for the proxy failed");
            continue;
        }
        if (fds[0].fd >= 0 && (fds[0].revents & (POLLIN | POLLHUP | POLLERR)))
            err = pass_input(tls, sent, &fds[0], error);
        if (err == TP_OK && (tls_client_pending(tls) > 0 || (fds[1].revents & (POLLIN | POLLHUP | POLLERR)))) {
            err = tls_client_read(tls, chunk, sizeof(chunk), &size, error);
            end = err == TP_OK && size == 0;
            if (size > 0)
                err = buf_append(first, chunk, size);
        }
        fds[0].revents = fds[1].revents = 0;
    }
    return err;
}

/* "tport: SENTENCE" in place of the SSH greeting, or TP_OK. */
static enum tp_err refusal_of(const struct buf *first, struct tp_error *error)
{
    static const char mark[] = "tport: ";
    static const char mfa_mark[] = "mfa_needed: ";
    if (buf_size(first) < sizeof(mark) - 1 || memcmp(buf_head(first), mark, sizeof(mark) - 1) != 0)
        return TP_OK;
    const char *text = (const char *)buf_head(first) + sizeof(mark) - 1;
    bool mfa = strncmp(text, mfa_mark, sizeof(mfa_mark) - 1) == 0;
    if (mfa)
        text += sizeof(mfa_mark) - 1;
    char *line = mem_strndup(text, strcspn(text, "\r\n"));
    char *safe = text_safe(line);
    enum tp_err err = err_set(error, mfa ? TP_MFA_NEEDED : TP_DENIED, "%s", safe);
    mem_free(line);
    mem_free(safe);
    return err;
}

enum tp_err api_relay_ssh(const struct profile *profile, const char *target, const struct api_key *key,
                          struct api_relayed *relayed, struct tp_error *error)
{
    struct api *api = api_new();
    struct buf first;
    char *name = NULL;

    buf_init(&first, 64 * 1024);
    enum tp_err err = sni_for_node(target, profile->cluster, &name, error);
    if (err == TP_OK)
        err = prepare_profile(api, profile, key, name, "tport-ssh", error);
    if (err == TP_OK)
        err = connect_tls(api, error);
    if (err == TP_OK) {
        tls_client_set_timeout(api->tls, 0);
        err = first_bytes(api->tls, &relayed->sent, &first, error);
        enum tp_err refused = refusal_of(&first, error);
        err = refused != TP_OK ? refused : err;
    }
    relayed->begun = err == TP_OK && buf_size(&first) > 0;
    if (err == TP_OK)
        err = write_fd(STDOUT_FILENO, buf_head(&first), buf_size(&first), error);
    if (err == TP_OK)
        err = tls_client_relay(api->tls, STDIN_FILENO, STDOUT_FILENO, error);
    buf_free(&first);
    mem_free(name);
    api_close(api);
    return err;
}
