/* Channels: bytes between SSH and a descriptor, in bounded memory both ways, and their orderly end. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "session/net_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURN_LIMIT ((size_t)512 * 1024) /* bytes of one channel in one turn */

struct channel *net_channel_new(struct net *net, enum channel_kind kind)
{
    struct channel *channel = mem_alloc(sizeof(*channel));
    channel->net = net;
    channel->number = net->next_number++;
    channel->kind = kind;
    channel->state = CHANNEL_NEW;
    channel->opened_fd = -1;
    net_end_init(&channel->in);
    net_end_init(&channel->out);
    net_end_init(&channel->err);
    buf_init(&channel->to_fd, 0);
    buf_init(&channel->to_ssh, 0);
    buf_init(&channel->notice, 0);
    channel->next = net->channels;
    net->channels = channel;
    net->channel_count++;
    return channel;
}

void net_channel_free(struct channel *channel)
{
    struct net *net = channel->net;
    struct channel **place = &net->channels;
    while (*place != channel) {
        place = &(*place)->next;
    }
    *place = channel->next;
    net->channel_count--;
    if (channel->pending != NULL) {
        ssh_message_free(channel->pending);
    }
    net_drop_fds(net, channel->number);
    if (channel->opened_fd >= 0) {
        close(channel->opened_fd);
    }
    net_end_close(&channel->in);
    net_end_close(&channel->out);
    net_end_close(&channel->err);
    buf_free(&channel->to_fd);
    buf_free(&channel->to_ssh);
    buf_free(&channel->notice);
    mem_free(channel->notice_title);
    recorder_free(channel->recorder);
    sizes_free(channel->sizes);
    json_decref(channel->env);
    json_decref(channel->modes);
    mem_free(channel->peer_host);
    mem_free(channel->bind_host);
    mem_free(channel);
}

struct channel *net_channel_find(struct net *net, uint32_t number)
{
    struct channel *channel = net->channels;
    while (channel != NULL && channel->number != number) {
        channel = channel->next;
    }
    return channel;
}

struct channel *net_channel_find_ssh(struct net *net, ssh_channel ssh)
{
    struct channel *channel = net->channels;
    while (channel != NULL && channel->ssh != ssh) {
        channel = channel->next;
    }
    return channel;
}

/* Writes as much as the descriptor takes. A broken descriptor swallows the rest: the other side will close. */
static size_t write_in(struct channel *channel, const void *data, size_t size)
{
    if (channel->in.fd < 0) {
        return size;
    }
    size_t done = 0;
    while (done < size) {
        ssize_t n = write(channel->in.fd, (const uint8_t *)data + done, size - done);
        if (n > 0) {
            done += (size_t)n;
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && errno == EAGAIN) {
            break;
        } else {
            net_end_close(&channel->in);
            return size;
        }
    }
    return done;
}

static void want_in(struct channel *channel)
{
    if (channel->in.watch != NULL) {
        watch_set(channel->in.watch, WATCH_WRITE);
    }
}

static int on_ssh_data(ssh_session ssh, ssh_channel ssh_chan, void *data, uint32_t size, int is_stderr, void *ctx)
{
    struct channel *channel = ctx;
    (void)ssh;
    (void)ssh_chan;
    net_activity(channel->net);
    if (is_stderr != 0) {
        return (int)size; /* clients do not send it; not ours to keep */
    }
    if (channel->state == CHANNEL_ENDING || channel->exited) {
        return (int)size;
    }
    if (channel->state != CHANNEL_RUNNING || buf_size(&channel->to_fd) > 0) {
        return 0; /* stays in libssh's buffer, the window is not opened again */
    }
    size_t done = write_in(channel, data, size);
    if (done < size) {
        want_in(channel);
    }
    return (int)done;
}

static void on_ssh_eof(ssh_session ssh, ssh_channel ssh_chan, void *ctx)
{
    struct channel *channel = ctx;
    (void)ssh;
    (void)ssh_chan;
    channel->client_eof = true;
    net_wake(channel->net);
}

static void on_ssh_close(ssh_session ssh, ssh_channel ssh_chan, void *ctx)
{
    struct channel *channel = ctx;
    (void)ssh;
    (void)ssh_chan;
    channel->client_eof = true;
    channel->client_closed = true;
    net_wake(channel->net);
}

static void on_ssh_signal(ssh_session ssh, ssh_channel ssh_chan, const char *name, void *ctx)
{
    struct channel *channel = ctx;
    (void)ssh;
    (void)ssh_chan;
    if (channel->state == CHANNEL_RUNNING && channel->kind == CHANNEL_SESSION && !channel->exited &&
        strlen(name) < 16 && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == strlen(name)) {
        json_t *params = json_pack("{s:i, s:s}", "channel", (int)channel->number, "name", name);
        rpc_event(channel->net->monitor, "signal", params);
    }
}

static void on_ssh_agent(ssh_session ssh, ssh_channel ssh_chan, void *ctx)
{
    struct channel *channel = ctx;
    (void)ssh;
    (void)ssh_chan;
    net_agent_request(channel->net);
}

void net_channel_attach(struct channel *channel, ssh_channel ssh)
{
    channel->ssh = ssh;
    channel->callbacks.userdata = channel;
    channel->callbacks.channel_data_function = on_ssh_data;
    channel->callbacks.channel_eof_function = on_ssh_eof;
    channel->callbacks.channel_close_function = on_ssh_close;
    if (channel->kind == CHANNEL_SESSION) {
        channel->callbacks.channel_signal_function = on_ssh_signal;
        if (requests_decide(requests_row(REQUEST_AGENT), &channel->net->settings.rights, NULL) == TP_OK) {
            channel->callbacks.channel_auth_agent_req_function = on_ssh_agent;
        }
    }
    ssh_callbacks_init(&channel->callbacks);
    (void)ssh_set_channel_callbacks(ssh, &channel->callbacks);
}

/* SSH to descriptor: what was kept, then what libssh holds. */
static void pump_in(struct channel *channel)
{
    uint8_t *scratch = loop_scratch(channel->net->loop);
    if (channel->state != CHANNEL_RUNNING || channel->ssh == NULL) {
        return;
    }
    for (;;) {
        if (buf_size(&channel->to_fd) > 0) {
            buf_consume(&channel->to_fd, write_in(channel, buf_head(&channel->to_fd), buf_size(&channel->to_fd)));
            if (buf_size(&channel->to_fd) > 0) {
                want_in(channel);
                return;
            }
        }
        int waiting = ssh_channel_poll(channel->ssh, 0);
        if (waiting <= 0) {
            break;
        }
        uint32_t ask = (size_t)waiting < LOOP_SCRATCH_SIZE ? (uint32_t)waiting : (uint32_t)LOOP_SCRATCH_SIZE;
        int n = ssh_channel_read_nonblocking(channel->ssh, scratch, ask, 0);
        if (n <= 0) {
            break;
        }
        size_t done = write_in(channel, scratch, (size_t)n);
        (void)buf_append(&channel->to_fd, scratch + done, (size_t)n - done);
    }
    if (channel->in.watch != NULL) {
        watch_set(channel->in.watch, 0);
    }
    if (channel->client_eof && channel->in.fd >= 0 && !channel->pty) {
        if (channel->kind == CHANNEL_TCP) {
            (void)shutdown(channel->in.fd, SHUT_WR);
        }
        net_end_close(&channel->in);
    }
}

static bool must_wait(struct channel *channel)
{
    return buf_size(&channel->to_ssh) > 0 || channel->net->ssh_full || ssh_channel_window_size(channel->ssh) == 0 ||
           (channel->recorder != NULL && recorder_is_full(channel->recorder));
}

/* Gives bytes to SSH; what it does not take (a key exchange is running) waits in to_ssh. False: the channel is dead. */
static bool give_ssh(struct channel *channel, const uint8_t *data, size_t size, bool is_err)
{
    int n = is_err ? ssh_channel_write_stderr(channel->ssh, data, (uint32_t)size)
                   : ssh_channel_write(channel->ssh, data, (uint32_t)size);
    if (n < 0) {
        return false;
    }
    net_flush(channel->net);
    if ((size_t)n < size) {
        channel->to_ssh_is_err = is_err;
        (void)buf_append(&channel->to_ssh, data + n, size - (size_t)n);
    }
    return true;
}

static bool flush_to_ssh(struct channel *channel)
{
    size_t size = buf_size(&channel->to_ssh);
    uint32_t window = size == 0 ? 0 : ssh_channel_window_size(channel->ssh);
    if (size == 0 || window == 0 || channel->net->ssh_full) {
        return true;
    }
    uint32_t ask = size < window ? (uint32_t)size : window;
    int n = channel->to_ssh_is_err ? ssh_channel_write_stderr(channel->ssh, buf_head(&channel->to_ssh), ask)
                                   : ssh_channel_write(channel->ssh, buf_head(&channel->to_ssh), ask);
    if (n < 0) {
        return false;
    }
    net_flush(channel->net);
    buf_consume(&channel->to_ssh, (size_t)n);
    return true;
}

/* Descriptor to SSH. */
static void pump_out(struct channel *channel, struct net_end *end, bool is_err)
{
    struct net *net = channel->net;
    for (size_t turn = 0; end->fd >= 0 && channel->ssh != NULL && channel->state == CHANNEL_RUNNING;) {
        if (must_wait(channel)) {
            channel->blocked = true;
            if (end->watch != NULL) {
                watch_set(end->watch, 0);
            }
            return;
        }
        if (turn >= TURN_LIMIT) {
            net_wake(net); /* others first */
            return;
        }
        uint32_t window = ssh_channel_window_size(channel->ssh);
        size_t ask = window < NET_PIECE ? window : NET_PIECE;
        ssize_t n = read(end->fd, net->piece, ask);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN && !(channel->pty && channel->exited)) {
            if (end->watch != NULL) {
                watch_set(end->watch, WATCH_READ);
            }
            return;
        }
        if (n <= 0) { /* the end; a terminal says EIO, and after the shell's exit nobody else's output is waited for */
            net_end_close(end);
            net_wake(net);
            return;
        }
        turn += (size_t)n;
        net_activity(net);
        if (channel->recorder != NULL) {
            recorder_output(channel->recorder, net->piece, (size_t)n);
        }
        if (channel->pty) {
            screen_feed(&channel->screen, net->piece, (size_t)n);
        }
        if (!give_ssh(channel, net->piece, (size_t)n, is_err)) {
            channel->doomed = true;
            net_wake(net);
            return;
        }
    }
}

static void on_in(void *ctx, int events)
{
    struct channel *channel = ctx;
    (void)events;
    pump_in(channel);
    net_wake(channel->net);
}

static void on_out(void *ctx, int events)
{
    struct channel *channel = ctx;
    (void)events;
    pump_out(channel, &channel->out, false);
    net_wake(channel->net);
}

static void on_err(void *ctx, int events)
{
    struct channel *channel = ctx;
    (void)events;
    pump_out(channel, &channel->err, true);
    net_wake(channel->net);
}

void net_channel_start_io(struct channel *channel, int in_fd, int out_fd, int err_fd)
{
    struct net *net = channel->net;
    channel->state = CHANNEL_RUNNING;
    if (in_fd >= 0) {
        net_end_open(net, &channel->in, in_fd, on_in, channel);
    }
    if (out_fd >= 0) {
        net_end_open(net, &channel->out, out_fd, on_out, channel);
        watch_set(channel->out.watch, WATCH_READ);
    }
    if (err_fd >= 0) {
        net_end_open(net, &channel->err, err_fd, on_err, channel);
        watch_set(channel->err.watch, WATCH_READ);
    }
    net_wake(net);
}

void net_channel_exited(struct channel *channel, int status, const char *signal_name)
{
    channel->exited = true;
    channel->exit_status = status;
    (void)strncpy(channel->exit_signal, signal_name, sizeof(channel->exit_signal) - 1);
    net_wake(channel->net);
}

bool net_channel_takes(const struct channel *channel)
{
    return channel->state == CHANNEL_RUNNING && channel->ssh != NULL && !channel->client_closed &&
           buf_size(&channel->to_ssh) == 0 && ssh_channel_window_size(channel->ssh) > NOTICE_MAX &&
           !channel->net->ssh_full;
}

void net_channel_give(struct channel *channel, const uint8_t *data, size_t size)
{
    if (!give_ssh(channel, data, size, false)) {
        channel->doomed = true;
    }
}

void net_channel_say(struct channel *channel, const char *text)
{
    if (channel->kind != CHANNEL_SESSION || channel->ssh == NULL || channel->state != CHANNEL_RUNNING ||
        ssh_channel_window_size(channel->ssh) < 512) {
        return;
    }
    char *line = mem_printf("\r\ntport: %s\r\n", text);
    size_t size = strlen(line);
    (void)give_ssh(channel, (const uint8_t *)line, size < 512 ? size : 512, !channel->pty);
    mem_free(line);
}

static void send_end(struct channel *channel)
{
    bool recorded = channel->recorder != NULL && !recorder_has_failed(channel->recorder);
    rpc_event(channel->net->monitor, "end",
              json_pack("{s:i, s:b, s:b}", "channel", (int)channel->number, "recorded", (int)recorded, "finished",
                        (int)channel->finished));
}

void net_channel_leave(struct channel *channel)
{
    if (channel->pending != NULL) {
        ssh_message_free(channel->pending);
        channel->pending = NULL;
    }
    channel->ssh = NULL;
}

/* Closes the SSH side; the channel stays until its recording is confirmed. */
void net_channel_end(struct channel *channel)
{
    if (channel->state == CHANNEL_ENDING) {
        return;
    }
    bool ran = channel->kind == CHANNEL_SESSION && channel->state >= CHANNEL_ASKING;
    channel->finished = channel->exited && !channel->doomed && channel->net->phase == NET_OPEN;
    channel->state = CHANNEL_ENDING;
    if (channel->pending != NULL) {
        ssh_message_free(channel->pending);
        channel->pending = NULL;
    }
    if (channel->ssh != NULL) {
        if (ssh_channel_is_open(channel->ssh) != 0 && ran && channel->exited) {
            if (channel->exit_signal[0] != '\0') {
                (void)ssh_channel_request_send_exit_signal(channel->ssh, channel->exit_signal, 0, "", "");
            } else {
                (void)ssh_channel_request_send_exit_status(channel->ssh, channel->exit_status);
            }
        }
        if (ssh_channel_is_open(channel->ssh) == 0) {
            channel->client_closed = true; /* refused by the client, or closed by it already */
        }
        /* Freed by net_channel_reap, once the client has closed it too. While the socket is full the first call gets no further
         * than the end of the data, and the second one goes on from there. */
        if (ssh_channel_close(channel->ssh) == SSH_AGAIN) {
            (void)ssh_channel_close(channel->ssh);
        }
    }
    net_end_close(&channel->in);
    net_end_close(&channel->out);
    net_end_close(&channel->err);
    sizes_flush(channel->sizes);
    if (channel->recorder != NULL) {
        recorder_finish(channel->recorder);
    }
    if (!ran) {
        channel->kind = CHANNEL_TCP; /* nothing was started: the monitor has nothing to end */
    }
    net_wake(channel->net);
}

static bool is_finished(const struct channel *channel)
{
    if (channel->doomed || channel->client_closed) {
        return true;
    }
    if (channel->state != CHANNEL_RUNNING || channel->out.fd >= 0 || channel->err.fd >= 0 ||
        buf_size(&channel->to_ssh) > 0) {
        return false;
    }
    return channel->kind == CHANNEL_SESSION ? channel->exited : channel->client_eof && channel->in.fd < 0;
}

/* A channel we opened towards the client: has the client answered? */
static void step_opening(struct channel *channel)
{
    int rc = channel->reopen(channel);
    if (rc == SSH_AGAIN) {
        return;
    }
    channel->reopen = NULL;
    int fd = channel->opened_fd;
    channel->opened_fd = -1;
    int copy = rc == SSH_OK && fd >= 0 ? dup(fd) : -1;
    if (copy < 0) {
        if (fd >= 0) {
            close(fd);
        }
        channel->doomed = true;
        return;
    }
    net_channel_start_io(channel, copy, fd, -1);
}

void net_channel_reap(struct channel *channel)
{
    if (channel->state == CHANNEL_ENDING && channel->client_closed && channel->ssh != NULL) {
        (void)ssh_remove_channel_callbacks(channel->ssh, &channel->callbacks);
        ssh_channel_free(channel->ssh);
        channel->ssh = NULL;
    }
}

bool net_channel_is_free_again(struct channel *channel)
{
    return channel->state == CHANNEL_RUNNING && channel->ssh != NULL && channel->blocked && !must_wait(channel);
}

void net_channel_step(struct channel *channel)
{
    if (channel->state == CHANNEL_ENDING) {
        if (channel->kind == CHANNEL_SESSION && !channel->end_sent &&
            (channel->recorder == NULL || recorder_is_done(channel->recorder))) {
            channel->end_sent = true;
            send_end(channel);
        }
        if (channel->ssh == NULL && (channel->kind == CHANNEL_TCP || channel->end_sent)) {
            net_channel_free(channel);
        }
        return;
    }
    if (channel->reopen != NULL) {
        step_opening(channel);
    }
    if (channel->state == CHANNEL_RUNNING && !channel->client_closed && channel->ssh != NULL) {
        pump_in(channel);
        if (!flush_to_ssh(channel)) {
            channel->doomed = true;
        }
        if (channel->blocked && !must_wait(channel)) {
            channel->blocked = false;
        }
        if (!channel->blocked && !channel->doomed) {
            pump_out(channel, &channel->out, false);
            pump_out(channel, &channel->err, true);
        }
        net_notice_step(channel);
        if (channel->kind == CHANNEL_TCP && channel->out.fd < 0 && !channel->eof_sent &&
            buf_size(&channel->to_ssh) == 0) {
            channel->eof_sent = true;
            (void)ssh_channel_send_eof(channel->ssh);
        }
    }
    if (is_finished(channel)) {
        net_channel_end(channel);
    }
}
