/* Channel opens and channel requests, decided by the table of requests.h. */
#include "base/clock.h"
#include "base/enc.h"
#include "base/log.h"
#include "base/mem.h"
#include "session/carry.h"
#include "session/environment.h"
#include "session/net_priv.h"
#include "session/open_refuse.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void refuse(ssh_message message)
{
    (void)ssh_message_reply_default(message);
    ssh_message_free(message);
}

/* Asks the table; a refusal is logged with its reason. */
static enum tp_err decide(struct net *net, enum request_id id, struct tp_error *error)
{
    const struct request_row *row = id == REQUEST_UNKNOWN ? NULL : requests_row(id);
    enum tp_err err = requests_decide(row, &net->settings.rights, error);
    if (err != TP_OK) {
        net_refused(net, row == NULL ? "unknown" : row->name, error->text);
    }
    if (err != TP_OK && id == REQUEST_X11) {
        net_audit(net, "x11-forward", json_pack("{s:b, s:s}", "success", 0, "error", error->text));
    }
    return err;
}

static bool allowed(struct net *net, enum request_id id)
{
    struct tp_error error = {0};
    return decide(net, id, &error) == TP_OK;
}

static size_t count_sessions(const struct net *net)
{
    size_t count = 0;
    for (const struct channel *channel = net->channels; channel != NULL; channel = channel->next) {
        count += channel->kind == CHANNEL_SESSION && channel->state != CHANNEL_ENDING ? 1 : 0;
    }
    return count;
}

static void open_session(struct net *net, ssh_message message)
{
    if (net->settings.max_sessions > 0 && count_sessions(net) >= (size_t)net->settings.max_sessions) {
        char *reason = mem_printf("max_sessions is %lld", (long long)net->settings.max_sessions);
        net_refused(net, "session", reason);
        net_audit(net, "session.rejected",
                  json_pack("{s:s, s:I}", "reason", "max_sessions", "max", (json_int_t)net->settings.max_sessions));
        open_refuse(message, OPEN_PROHIBITED, reason);
        mem_free(reason);
        return;
    }
    ssh_channel ssh = ssh_message_channel_request_open_reply_accept(message);
    ssh_message_free(message);
    if (ssh != NULL) {
        net_channel_attach(net_channel_new(net, CHANNEL_SESSION), ssh);
    }
}

void net_open_message(struct net *net, ssh_message message)
{
    enum request_id id = REQUEST_UNKNOWN;
    switch (ssh_message_subtype(message)) {
    case SSH_CHANNEL_SESSION:
        id = REQUEST_OPEN_SESSION;
        break;
    case SSH_CHANNEL_DIRECT_TCPIP:
        id = carry_socket_path(ssh_message_channel_request_open_destination(message)) == NULL
                 ? REQUEST_OPEN_DIRECT_TCPIP
                 : REQUEST_OPEN_STREAMLOCAL;
        break;
    case SSH_CHANNEL_X11:
        id = REQUEST_OPEN_X11;
        break;
    default:
        break;
    }
    struct tp_error error = {0};
    if (net->phase != NET_OPEN) {
        open_refuse(message, OPEN_PROHIBITED, "");
    } else if (decide(net, id, &error) != TP_OK) {
        open_refuse(message, id == REQUEST_UNKNOWN ? OPEN_UNKNOWN_TYPE : OPEN_PROHIBITED, error.text);
    } else if (net->channel_count >= NET_CHANNEL_MAX) {
        open_refuse(message, OPEN_NO_ROOM, "too many channels on this connection");
    } else if (id == REQUEST_OPEN_SESSION) {
        open_session(net, message);
    } else {
        net_connect(net, message);
    }
}

static uint32_t clamp_size(int value, uint32_t otherwise)
{
    return value < 1 ? otherwise : value > 4096 ? 4096 : (uint32_t)value;
}

static bool take_pty(struct channel *channel, ssh_message message)
{
    const char *term = ssh_message_channel_request_pty_term(message);
    json_t *modes = NULL;
    size_t size = 0;
    if (channel->state != CHANNEL_NEW || channel->pty || (term != NULL && !carry_terminal(term, &size, &modes))) {
        return false;
    }
    if (size >= NET_TERM_MAX ||
        (size > 0 && strspn(term, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-+._:") < size)) {
        json_decref(modes);
        return false;
    }
    memcpy(channel->term, size > 0 ? term : "dumb", size > 0 ? size : 4);
    channel->term[size > 0 ? size : 4] = '\0';
    channel->modes = modes;
    channel->pty = true;
    channel->cols = clamp_size(ssh_message_channel_request_pty_width(message), 80);
    channel->rows = clamp_size(ssh_message_channel_request_pty_height(message), 24);
    return true;
}

static bool take_env(struct channel *channel, ssh_message message)
{
    const char *name = ssh_message_channel_request_env_name(message);
    const char *value = ssh_message_channel_request_env_value(message);
    if (channel->state != CHANNEL_NEW || name == NULL || value == NULL || strlen(value) > ENVIRONMENT_MAX_VALUE ||
        !environment_allows(name, channel->net->settings.permit_user_env)) {
        return false;
    }
    if (channel->env == NULL) {
        channel->env = json_object();
    }
    if (json_object_size(channel->env) >= ENVIRONMENT_MAX_FROM_CLIENT) {
        return false;
    }
    char *text = enc_base64(value, strlen(value));
    (void)json_object_set_new(channel->env, name, json_string(text));
    mem_free(text);
    return true;
}

static void on_size(void *ctx, uint32_t cols, uint32_t rows)
{
    struct channel *channel = ctx;
    char text[32];
    if (channel->recorder != NULL) {
        recorder_resize(channel->recorder, cols, rows);
    }
    (void)snprintf(text, sizeof(text), "%u:%u", cols, rows);
    net_audit(channel->net, "resize", json_pack("{s:s}", "size", text));
}

static void take_window_change(struct channel *channel, ssh_message message)
{
    struct winsize size = {0};
    if (!channel->pty || channel->state != CHANNEL_RUNNING || channel->out.fd < 0) {
        return;
    }
    if (channel->sizes == NULL) {
        channel->sizes = sizes_new(channel->net->loop, channel->cols, channel->rows, on_size, channel);
    }
    channel->cols = clamp_size(ssh_message_channel_request_pty_width(message), channel->cols);
    channel->rows = clamp_size(ssh_message_channel_request_pty_height(message), channel->rows);
    size.ws_col = (unsigned short)channel->cols;
    size.ws_row = (unsigned short)channel->rows;
    (void)ioctl(channel->out.fd, TIOCSWINSZ, &size);
    sizes_set(channel->sizes, channel->cols, channel->rows);
}

static void on_recorder(void *ctx)
{
    struct channel *channel = ctx;
    if (recorder_has_failed(channel->recorder)) {
        if (channel->net->settings.record_strict) {
            net_close(channel->net, CLOSE_RECORDING_FAILED, "session closed: it can't be recorded");
        } else {
            log_warn("session goes on without a recording", "channel=%u", channel->number);
        }
    }
    net_wake(channel->net);
}

static void on_recorded(void *ctx, json_t *result, const struct tp_error *error)
{
    struct channel *channel = ctx;
    (void)result;
    channel->record_call = 0;
    recorder_confirm(channel->recorder, error);
}

static void record_append(void *ctx, struct recorder *recorder, uint64_t offset, const char *piece)
{
    struct channel *channel = ctx;
    (void)recorder;
    json_t *params =
        json_pack("{s:i, s:I, s:s}", "channel", (int)channel->number, "offset", (json_int_t)offset, "data", piece);
    channel->record_call = rpc_request(channel->net->monitor, "record", params, NULL, 0, on_recorded, channel);
}

static void record_cancel(void *ctx)
{
    struct channel *channel = ctx;
    rpc_cancel(channel->net->monitor, channel->record_call);
}

static void start_recorder(struct channel *channel, json_t *result)
{
    if (!channel->net->settings.record || channel->sftp) {
        return;
    }
    const char *command = json_get_text(result, "command", "");
    struct recorder_options options = {
        .terminal = channel->pty,
        .packed = channel->net->settings.record_packed,
        .header = {.cols = channel->pty ? channel->cols : 80,
                   .rows = channel->pty ? channel->rows : 24,
                   .timestamp = clock_wall(),
                   .term = channel->pty ? channel->term : NULL,
                   .shell = json_get_text(result, "shell", NULL),
                   .command = *command != '\0' ? command : NULL},
    };
    struct recorder_sink sink = {.append = record_append, .cancel = record_cancel, .ctx = channel};
    channel->recorder = recorder_new(channel->net->loop, &sink, &options, on_recorder, channel);
}

struct opening {
    struct net *net;
    uint32_t number;
};

static void on_opened(void *ctx, json_t *result, const struct tp_error *error)
{
    struct opening *opening = ctx;
    struct net *net = opening->net;
    uint32_t number = opening->number;
    mem_free(opening);
    struct channel *channel = net_channel_find(net, number);
    if (channel == NULL || channel->state != CHANNEL_ASKING) {
        net_drop_fds(net, number);
        if (channel == NULL && error == NULL) {
            rpc_event(net->monitor, "end", json_pack("{s:i, s:b}", "channel", (int)number, "recorded", 0));
        }
        return;
    }
    ssh_message message = channel->pending;
    channel->pending = NULL;
    net_wake(net);
    if (error != NULL) {
        log_info("session not started", "reason=\"%s\"", error->text);
        refuse(message);
        channel->state = CHANNEL_NEW;
        channel->doomed = true;
        return;
    }
    (void)ssh_message_channel_request_reply_success(message);
    ssh_message_free(message);
    start_recorder(channel, result);
    if (channel->pty) {
        int terminal = net_take_fd(net, number, "pty");
        int copy = terminal >= 0 ? dup(terminal) : -1;
        net_channel_start_io(channel, copy, terminal, -1);
    } else {
        int in_fd = net_take_fd(net, number, "stdin");
        int out_fd = net_take_fd(net, number, "stdout");
        net_channel_start_io(channel, in_fd, out_fd, net_take_fd(net, number, "stderr"));
    }
}

static void start(struct channel *channel, ssh_message message, enum request_id id)
{
    struct net *net = channel->net;
    const char *method = id == REQUEST_SHELL ? "open_shell" : id == REQUEST_EXEC ? "open_exec" : "open_sftp";
    const char *command = id == REQUEST_EXEC ? ssh_message_channel_request_command(message) : "";
    char *encoded = enc_base64(command, strlen(command));
    json_t *params = json_pack("{s:i, s:s, s:b, s:s, s:i, s:i, s:O?, s:O?}", "channel", (int)channel->number, "command",
                               encoded, "pty", (int)channel->pty, "term", channel->term, "cols", (int)channel->cols,
                               "rows", (int)channel->rows, "env", channel->env, "modes", channel->modes);
    mem_free(encoded);
    struct opening *opening = mem_alloc(sizeof(*opening));
    opening->net = net;
    opening->number = channel->number;
    channel->pending = message;
    channel->sftp = id == REQUEST_SFTP;
    channel->state = CHANNEL_ASKING;
    (void)rpc_request(net->monitor, method, params, NULL, 60000, on_opened, opening);
}

static bool may_start(struct channel *channel, ssh_message message, enum request_id *id)
{
    struct net *net = channel->net;
    if (channel->state != CHANNEL_NEW || channel->doomed) {
        return false;
    }
    if (*id == REQUEST_SUBSYSTEM_START) {
        const struct request_row *row =
            requests_find(REQUEST_SUBSYSTEM, ssh_message_channel_request_subsystem(message));
        *id = row == NULL ? REQUEST_UNKNOWN : row->id;
        if (!allowed(net, *id)) {
            return false;
        }
    }
    if (*id == REQUEST_EXEC) {
        const char *command = ssh_message_channel_request_command(message);
        if (command == NULL || strlen(command) > 128 * 1024) {
            return false;
        }
        if (requests_is_file_copy(command)) {
            return allowed(net, REQUEST_SFTP);
        }
    }
    return true;
}

static enum request_id id_of(ssh_message message)
{
    switch (ssh_message_subtype(message)) {
    case SSH_CHANNEL_REQUEST_PTY:
        return REQUEST_PTY;
    case SSH_CHANNEL_REQUEST_EXEC:
        return REQUEST_EXEC;
    case SSH_CHANNEL_REQUEST_SHELL:
        return REQUEST_SHELL;
    case SSH_CHANNEL_REQUEST_ENV:
        return REQUEST_ENV;
    case SSH_CHANNEL_REQUEST_SUBSYSTEM:
        return REQUEST_SUBSYSTEM_START;
    case SSH_CHANNEL_REQUEST_WINDOW_CHANGE:
        return REQUEST_WINDOW_CHANGE;
    case SSH_CHANNEL_REQUEST_X11:
        return REQUEST_X11;
    default:
        return REQUEST_UNKNOWN;
    }
}

void net_channel_message(struct net *net, ssh_message message)
{
    struct channel *channel = net_channel_find_ssh(net, ssh_message_channel_request_channel(message));
    enum request_id id = id_of(message);
    if (channel == NULL || channel->kind != CHANNEL_SESSION || net->phase != NET_OPEN || !allowed(net, id)) {
        refuse(message);
        return;
    }
    bool ok = false;
    switch (id) {
    case REQUEST_PTY:
        ok = take_pty(channel, message);
        break;
    case REQUEST_ENV:
        ok = take_env(channel, message);
        break;
    case REQUEST_WINDOW_CHANGE:
        take_window_change(channel, message);
        ok = true;
        break;
    case REQUEST_SHELL:
    case REQUEST_EXEC:
    case REQUEST_SUBSYSTEM_START:
        if (may_start(channel, message, &id)) {
            start(channel, message, id);
            return;
        }
        break;
    default:
        break;
    }
    if (!ok) {
        refuse(message);
        return;
    }
    (void)ssh_message_channel_request_reply_success(message);
    ssh_message_free(message);
}
