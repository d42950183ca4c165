#include "session/net.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "session/hostcert.h"
#include "session/net_priv.h"
#include "session/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define MONITOR_FD 3
#define SSH_FD 4
#define SIGN_IN_MS 10000 /* R9 */
#define SAY_MS 150       /* for a last message to reach the person */
#define LINGER_MS 3000   /* for recordings to be confirmed */

#define KEX "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521"
#define CIPHERS "aes128-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes256-ctr,aes128-ctr"
#define MACS "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512"

void net_end_init(struct net_end *end)
{
    end->fd = -1;
    end->watch = NULL;
}

void net_end_open(struct net *net, struct net_end *end, int fd, watch_cb *fn, void *ctx)
{
    end->fd = fd;
    end->watch = NULL;
    int flags = fcntl(fd, F_GETFL);
    (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    if (watch_new(net->loop, fd, fn, ctx, &end->watch) != TP_OK) {
        end->watch = NULL; /* /dev/null and files: always ready, handled by the step */
    }
}

void net_end_close(struct net_end *end)
{
    watch_free(end->watch);
    end->watch = NULL;
    if (end->fd >= 0) {
        close(end->fd);
    }
    end->fd = -1;
}

void net_wake(struct net *net)
{
    later_run(net->loop, &net->step);
}

void net_flush(struct net *net)
{
    /* The flag alone says less: libssh sets it with each packet, also when the socket has taken all of it. */
    bool pending = net->ssh != NULL && (ssh_get_poll_flags(net->ssh) & SSH_WRITE_PENDING) != 0;
    net->ssh_full = pending && (net->phase == NET_AUTH_ASKING || ssh_blocking_flush(net->ssh, 0) == SSH_AGAIN);
}

void net_activity(struct net *net)
{
    net->last_activity_ms = loop_now_ms(net->loop);
}

int net_take_fd(struct net *net, uint32_t number, const char *what)
{
    for (size_t i = 0; i < net->arrived_count; i++) {
        if (net->arrived[i].number == number && strcmp(net->arrived[i].what, what) == 0) {
            int fd = net->arrived[i].fd;
            net->arrived[i] = net->arrived[--net->arrived_count];
            return fd;
        }
    }
    return -1;
}

void net_drop_fds(struct net *net, uint32_t number)
{
    for (size_t i = 0; i < net->arrived_count;) {
        if (net->arrived[i].number == number) {
            close(net->arrived[i].fd);
            net->arrived[i] = net->arrived[--net->arrived_count];
        } else {
            i++;
        }
    }
}

void net_refused(struct net *net, const char *what, const char *reason)
{
    log_info("request refused", "request=%s reason=\"%s\"", what, reason);
    if (net->phase == NET_OPEN) {
        char *text = mem_printf("tport: %s: %s", what, reason);
        (void)ssh_send_debug(net->ssh, text, 1);
        mem_free(text);
    }
}

void net_audit(struct net *net, const char *event, json_t *fields)
{
    rpc_event(net->monitor, "audit", json_pack("{s:s, s:o}", "event", event, "fields", fields));
}

static void on_bye(void *ctx, json_t *result, const struct tp_error *error)
{
    struct net *net = ctx;
    (void)result;
    (void)error;
    loop_stop(net->loop);
}

/* The monitor's answer to the last question says that everything before it has arrived, too. */
static void finish(struct net *net)
{
    if (net->phase == NET_DONE) {
        return;
    }
    net->phase = NET_DONE;
    (void)rpc_request(net->monitor, "bye", json_object(), NULL, 2000, on_bye, net);
}

static void disconnect(struct net *net)
{
    if (net->ssh == NULL) {
        return;
    }
    net_end_close(&net->socket);
    if (net->auth_message != NULL) {
        ssh_message_free(net->auth_message);
        net->auth_message = NULL;
    }
    for (size_t i = 0; i < net->global_count; i++) {
        ssh_message_free(net->global_queue[i]);
    }
    net->global_count = 0;
    net_listeners_free(net);
    for (struct channel *channel = net->channels; channel != NULL; channel = channel->next) {
        net_channel_leave(channel);
    }
    ssh_event_remove_session(net->event, net->ssh);
    /* Nothing before the last word: a client that answers the close of a channel finds a closed connection, and does not read
     * on to what it was told. */
    if ((ssh_get_status(net->ssh) & (SSH_CLOSED | SSH_CLOSED_ERROR)) == 0) {
        if (net->last_word[0] != '\0') {
            (void)ssh_session_set_disconnect_message(net->ssh, net->last_word);
        }
        ssh_disconnect(net->ssh);
    }
    ssh_event_free(net->event);
    ssh_free(net->ssh);
    ssh_bind_free(net->bind);
    net->ssh = NULL;
    for (struct channel *channel = net->channels; channel != NULL; channel = channel->next) {
        net_channel_end(channel);
    }
    timer_start(net->deadline, LINGER_MS, 0);
    net_wake(net);
}

void net_close(struct net *net, enum close_reason reason, const char *text)
{
    if (net->phase >= NET_CLOSING) {
        return;
    }
    bool was_open = net->phase == NET_OPEN;
    net->phase = NET_CLOSING;
    net->reason = reason;
    rpc_event(net->monitor, "closing", json_pack("{s:s}", "reason", close_name(reason)));
    if (was_open && text != NULL) {
        (void)snprintf(net->last_word, sizeof net->last_word, "%s", text);
        for (struct channel *channel = net->channels; channel != NULL; channel = channel->next) {
            net_channel_say(channel, text);
        }
        if (close_is_error(reason)) {
            net_audit(net, "client.disconnect", json_pack("{s:s}", "reason", text));
        }
    }
    timer_start(net->deadline, SAY_MS, 0);
    net_wake(net);
}

static void on_deadline(void *ctx)
{
    struct net *net = ctx;
    if (net->phase < NET_OPEN) {
        log_info("client did not sign in in time", "");
        net_close(net, CLOSE_PREAUTH_TIMEOUT, NULL);
    } else if (net->phase == NET_CLOSING && net->ssh != NULL) {
        disconnect(net);
    } else if (net->phase == NET_CLOSING) {
        log_warn("the end of a recording was not confirmed in time", "");
        finish(net);
    }
}

static void on_tick(void *ctx)
{
    struct net *net = ctx;
    const struct net_settings *settings = &net->settings;
    if (net->phase != NET_OPEN) {
        return;
    }
    if (settings->disconnect_expired_cert && settings->cert_not_after_ms > 0 &&
        clock_wall_ms() >= settings->cert_not_after_ms) {
        net_close(net, CLOSE_CERT_EXPIRED, "session closed: your certificate has expired, sign in again");
    } else if (settings->idle_timeout_ms > 0 &&
               loop_now_ms(net->loop) - net->last_activity_ms >= settings->idle_timeout_ms) {
        net_close(net, CLOSE_IDLE_TIMEOUT, "session closed: nothing was sent for too long (idle timeout)");
    }
    for (const struct channel *channel = net->channels; channel != NULL; channel = channel->next) {
        if (buf_size(&channel->notice) > 0) {
            net_wake(net);
        }
    }
}

static bool ssh_is_dead(const struct net *net)
{
    return (ssh_get_status(net->ssh) & (SSH_CLOSED | SSH_CLOSED_ERROR)) != 0;
}

static void dispatch(struct net *net, ssh_message message)
{
    switch (ssh_message_type(message)) {
    case SSH_REQUEST_SERVICE:
        (void)ssh_message_service_reply_success(message);
        break;
    case SSH_REQUEST_AUTH:
        net_auth_message(net, message);
        return;
    case SSH_REQUEST_CHANNEL_OPEN:
        net_open_message(net, message);
        return;
    case SSH_REQUEST_CHANNEL:
        net_channel_message(net, message);
        return;
    case SSH_REQUEST_GLOBAL:
        net_global_message(net, message);
        return;
    default:
        (void)ssh_message_reply_default(message);
        break;
    }
    ssh_message_free(message);
}

/* After a packet libssh keeps all that follow until it has seen once more that the socket can be written. It sees so here, not
 * with an event of the loop: what is sent between two steps goes out at once. */
static void settle(struct net *net)
{
    if (net->ssh != NULL && net->phase != NET_AUTH_ASKING && (ssh_get_poll_flags(net->ssh) & SSH_WRITE_PENDING) != 0) {
        (void)ssh_event_dopoll(net->event, 0);
    }
    net_flush(net);
}

static void step_channels(struct net *net)
{
    for (struct channel *channel = net->channels, *next; channel != NULL; channel = next) {
        next = channel->next;
        net_channel_step(channel);
    }
    settle(net);
    /* Any call into libssh may have written out what a channel waited for: then no event of the socket will say so. */
    for (struct channel *channel = net->channels; channel != NULL; channel = channel->next) {
        if (net_channel_is_free_again(channel)) {
            net_wake(net);
            return;
        }
    }
}

static void reap_channels(struct net *net)
{
    for (struct channel *channel = net->channels; channel != NULL; channel = channel->next) {
        net_channel_reap(channel);
    }
}

static void rearm(struct net *net)
{
    int events = net->phase == NET_AUTH_ASKING ? 0 : WATCH_READ;
    if ((ssh_get_poll_flags(net->ssh) & SSH_WRITE_PENDING) != 0) {
        events |= WATCH_WRITE;
    }
    watch_set(net->socket.watch, events);
}

/* Handles every message that has come. */
static void take_messages(struct net *net)
{
    while (net->phase < NET_CLOSING && net->phase != NET_AUTH_ASKING && !ssh_is_dead(net)) {
        ssh_message message = ssh_message_get(net->ssh);
        if (message == NULL) {
            reap_channels(net);
            break;
        }
        dispatch(net, message);
    }
}

static void step_connection(struct net *net)
{
    if (net->phase != NET_AUTH_ASKING) {
        (void)ssh_event_dopoll(net->event, 0);
        take_messages(net);
    }
    uint64_t packets = net->raw_counter.in_packets;
    net_flush(net);
    step_channels(net);
    if (net->raw_counter.in_packets != packets) {
        net_wake(net); /* moving bytes made libssh read packets: what they brought must not wait for the next one */
    }
    if (!ssh_is_dead(net)) {
        rearm(net);
        return;
    }
    if (net->phase < NET_CLOSING) {
        net->reason = CLOSE_CLIENT_CLOSED;
        if (net->phase == NET_OPEN && (ssh_get_status(net->ssh) & SSH_CLOSED_ERROR) != 0) {
            log_debug("connection ended by an error", "error=\"%s\"", ssh_get_error(net->ssh));
        }
        net->phase = NET_CLOSING;
        rpc_event(net->monitor, "closing", json_pack("{s:s}", "reason", close_name(net->reason)));
    }
    disconnect(net);
}

/* Everything that may be due: packets, messages, bytes both ways, ends. */
static void on_step(void *ctx)
{
    struct net *net = ctx;
    if (net->phase == NET_DONE || net->phase == NET_STARTING) {
        return;
    }
    if (net->ssh != NULL) {
        step_connection(net);
        return;
    }
    step_channels(net);
    if (net->channels == NULL) {
        finish(net);
    }
}

static void on_socket(void *ctx, int events)
{
    (void)events;
    on_step(ctx);
}

static enum tp_err ssh_ok(struct tp_error *error, int rc, const char *what)
{
    return rc == SSH_OK ? TP_OK : err_set(error, TP_INTERNAL, "the SSH library refused %s", what);
}

static enum tp_err bind_set(ssh_bind bind, enum ssh_bind_options_e option, const void *value, const char *what,
                            struct tp_error *error)
{
    return ssh_ok(error, ssh_bind_options_set(bind, option, value), what);
}

static enum tp_err setup_bind(struct net *net, const char *host_key, struct tp_error *error)
{
    const bool off = false;
    ssh_key key = NULL;
    net->bind = ssh_bind_new();
    if (net->bind == NULL || ssh_pki_import_privkey_base64(host_key, NULL, NULL, NULL, &key) != SSH_OK) {
        return err_set(error, TP_INVALID, "the host key is not an OpenSSH private key");
    }
    enum tp_err err = bind_set(net->bind, SSH_BIND_OPTIONS_PROCESS_CONFIG, &off, "to skip its configuration", error);
    if (err == TP_OK) {
        err = bind_set(net->bind, SSH_BIND_OPTIONS_IMPORT_KEY, key, "the host key", error);
    }
    static const struct {
        enum ssh_bind_options_e option;
        const char *value;
    } LISTS[] = {
        {SSH_BIND_OPTIONS_KEY_EXCHANGE, KEX},    {SSH_BIND_OPTIONS_CIPHERS_C_S, CIPHERS},
        {SSH_BIND_OPTIONS_CIPHERS_S_C, CIPHERS}, {SSH_BIND_OPTIONS_HMAC_C_S, MACS},
        {SSH_BIND_OPTIONS_HMAC_S_C, MACS},
    };
    for (size_t i = 0; err == TP_OK && i < sizeof(LISTS) / sizeof(LISTS[0]); i++) {
        err = bind_set(net->bind, LISTS[i].option, LISTS[i].value, LISTS[i].value, error);
    }
    if (err == TP_OK) {
        err = bind_set(net->bind, SSH_BIND_OPTIONS_BANNER, "tport", "the banner", error);
    }
    return err;
}

static enum tp_err setup_ssh(struct net *net, struct tp_error *error)
{
    const int off = 0;
    net->ssh = ssh_new();
    net->event = ssh_event_new();
    if (net->ssh == NULL || net->event == NULL) {
        return err_set(error, TP_INTERNAL, "the SSH library gave no session");
    }
    (void)fcntl(SSH_FD, F_SETFL, fcntl(SSH_FD, F_GETFL) | O_NONBLOCK);
    int copy = fcntl(SSH_FD, F_DUPFD_CLOEXEC, 5);
    if (copy < 0) {
        return err_errno(error, errno, "the connection could not be duplicated");
    }
    net_end_open(net, &net->socket, copy, on_socket, net);
    enum tp_err err = ssh_ok(error, ssh_options_set(net->ssh, SSH_OPTIONS_PROCESS_CONFIG, &off), "a session option");
    if (err == TP_OK) {
        err = ssh_ok(error, ssh_options_set(net->ssh, SSH_OPTIONS_COMPRESSION, "no"), "to leave compression out");
    }
    if (err == TP_OK) {
        err = ssh_ok(error, ssh_bind_accept_fd(net->bind, net->ssh, SSH_FD), "the connection");
    }
    if (err != TP_OK) {
        return err;
    }
    ssh_set_blocking(net->ssh, 0);
    ssh_set_counters(net->ssh, &net->socket_counter, &net->raw_counter);
    ssh_set_auth_methods(net->ssh, SSH_AUTH_METHOD_PUBLICKEY);
    if (ssh_handle_key_exchange(net->ssh) == SSH_ERROR) {
        return err_set(error, TP_PROTOCOL, "the key exchange could not start");
    }
    return ssh_ok(error, ssh_event_add_session(net->event, net->ssh), "the event set");
}

static void read_settings(struct net *net, const json_t *params)
{
    struct net_settings *settings = &net->settings;
    settings->rights.file_copy = json_get_bool(params, "file_copy", false);
    settings->rights.forward_local = json_get_bool(params, "forward_local", false);
    settings->rights.forward_remote = json_get_bool(params, "forward_remote", false);
    settings->permit_user_env = json_get_bool(params, "permit_user_env", false);
    settings->record = json_get_bool(params, "record", true);
    settings->record_strict = json_get_bool(params, "record_strict", true);
    settings->record_packed = json_get_bool(params, "record_packed", false);
    settings->disconnect_expired_cert = json_get_bool(params, "disconnect_expired_cert", false);
    settings->cert_not_after_ms = json_get_int(params, "cert_not_after_ms", 0);
    settings->idle_timeout_ms = json_get_int(params, "idle_timeout_ms", 0);
    settings->max_sessions = json_get_int(params, "max_sessions", 0);
}

static void on_config(struct net *net, const json_t *params)
{
    struct tp_error error = {0};
    const char *host_key = NULL;
    const char *host_cert = NULL;
    read_settings(net, params);
    enum tp_err err = json_need_text(params, "host_key", &host_key, &error);
    if (err == TP_OK) {
        err = json_need_text(params, "host_cert", &host_cert, &error);
    }
    if (err == TP_OK) {
        err = hostcert_set(host_cert, &error);
    }
    if (err == TP_OK) {
        err = setup_bind(net, host_key, &error);
    }
    if (err == TP_OK) {
        err = setup_ssh(net, &error);
    }
    if (err == TP_OK) {
        err = sandbox_seal(&error); /* from here on: no files, no sockets, no programs, for life */
    }
    if (err != TP_OK) {
        log_error("session could not start", "error=\"%s\"", error.text);
        finish(net);
        return;
    }
    net->phase = NET_AUTH;
    net_activity(net);
    timer_start(net->deadline, SIGN_IN_MS, 0);
    timer_start(net->tick, 1000, 1000);
    net_wake(net);
}

static void on_fd(struct net *net, const json_t *params, int fd)
{
    const char *what = json_get_text(params, "what", "");
    if (net->arrived_count == sizeof(net->arrived) / sizeof(net->arrived[0]) || strlen(what) >= 8) {
        close(fd);
        return;
    }
    net->arrived[net->arrived_count].number = (uint32_t)json_get_int(params, "number", 0);
    net->arrived[net->arrived_count].fd = fd;
    memcpy(net->arrived[net->arrived_count].what, what, strlen(what) + 1);
    net->arrived_count++;
}

static void on_event(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    struct net *net = ctx;
    (void)rpc;
    if (strcmp(event, "fd") == 0 && fd >= 0) {
        on_fd(net, params, fd);
        return;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (strcmp(event, "config") == 0 && net->phase == NET_STARTING) {
        on_config(net, params);
    } else if (strcmp(event, "exit") == 0) {
        struct channel *channel = net_channel_find(net, (uint32_t)json_get_int(params, "channel", 0));
        if (channel != NULL) {
            net_channel_exited(channel, (int)json_get_int(params, "status", 255), json_get_text(params, "signal", ""));
        }
    } else if (strcmp(event, "watched") == 0) {
        struct channel *channel = net_channel_find(net, (uint32_t)json_get_int(params, "channel", 0));
        if (channel != NULL) {
            net_notice_add(channel, json_get_text(params, "text", ""));
        }
    } else if (strcmp(event, "cut") == 0) {
        net_close(net, close_from_name(json_get_text(params, "reason", "")), json_get_text(params, "text", NULL));
    }
}

static void on_monitor_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    (void)ctx;
    (void)rpc;
    (void)reason;
    _exit(1); /* nothing here may go on without the monitor */
}

int net_main(void)
{
    static const struct rpc_events EVENTS = {.on_event = on_event, .on_close = on_monitor_close};
    struct tp_error error = {0};
    if (sandbox_prepare(&error) != TP_OK || ssh_init() != SSH_OK) {
        log_error("session could not start", "error=\"%s\"", error.text);
        return 1;
    }
    struct net net = {.phase = NET_STARTING, .loop = loop_new(), .next_number = 1};
    net.step.fn = on_step;
    net.step.ctx = &net;
    net_end_init(&net.socket);
    net.piece = mem_resize(NULL, NET_PIECE); /* not zeroed: who says little has only its first pages */
    net.deadline = timer_new(net.loop, on_deadline, &net);
    net.tick = timer_new(net.loop, on_tick, &net);
    net.monitor = rpc_new_fd(net.loop, MONITOR_FD, &EVENTS, &net);
    loop_run(net.loop);
    /* The process ends here: the kernel frees what is left, and the monitor sees the line close. */
    return 0;
}
