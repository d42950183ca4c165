/* agents: as many agents as wanted, in one process. Each joins as tportd's agent does (a token over HTTPS), holds one tunnel
 * (docs/protocol-tunnel.md), dials again when it breaks (jittered, 1 s to 30 s), and takes every stream that is opened to
 * it. When the proxy drains a tunnel, it opens the next one first, as the agent does. What a stream does, its first byte says:
 * S sink, E echo, G send as fast as the tunnel takes it. One line of JSON about
 * all of them each 200 ms. Built from the agent's own parts, so that the other end sees what it sees in earnest. */
#include "agent/agent_state.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/dial.h"
#include "crypt/key.h"
#include "protocols/http/http_client.h"
#include "tls/tls_client.h"
#include "tls/tls_stream.h"
#include "tunnel/rpc_line.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define AGENTS_MAX 50000
#define JOIN_BATCH 30 /* auth takes 40 joins at once from one address */
#define CONNECT_MS 30000
#define REPORT_MS 200
#define DIALS_AT_ONCE 64    /* at the start; a real fleet does not start in one millisecond either */
#define DRAIN_SPREAD_MS 500 /* until the next tunnel is dialled after a drain */
#define CHUNK ((size_t)64 * 1024)

struct fleet;

/* One tunnel of an agent. */
struct link {
    struct agent *agent;
    struct tunnel *tunnel;
    struct rpc_line *line;
    bool up;
};

struct agent {
    struct fleet *fleet;
    unsigned number;
    char *name;
    char *host_id;
    char *cert; /* PEM; NULL: not joined */
    struct tls_context *tls;
    struct dial *dial;
    struct stream *stream;
    struct link *link; /* the newest; NULL while it is dialled */
    struct link *old;  /* drained by the proxy: goes when the newest is up */
    struct timer *retry;
    unsigned failures;
    bool reachable;
};

struct fleet {
    struct loop *loop;
    char *host;
    uint16_t port;
    const char *token;
    const char *pin;
    const char *prefix;
    char *key_pem;
    char *public_pem;
    char *ssh_key;
    char *ssh_public;
    char *cluster;
    char *host_ca;
    unsigned count, joined, up, next, jobs;
    uint64_t dials, failures, downs, streams, open_streams, sunk, sent;
    struct timer *report;
    bool heartbeat;
    uint8_t chunk[CHUNK];
};

static void die(const struct tp_error *error)
{
    (void)fprintf(stderr, "agents: %s\n", error->text);
    exit(1);
}

/* ---- many hosts have many addresses ---- */

int __real_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);

/* The linker puts it in place of connect(2): on loopback each connection comes from an address of its own, as those of a
 * real fleet do (limits per source are the proxy's business, and not what is measured). */
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    static atomic_uint next;
    const struct sockaddr_in *target = (const void *)address;
    if (target->sin_family == AF_INET && ntohl(target->sin_addr.s_addr) >> 24 == 127) {
        /* Each run starts somewhere else. */
        unsigned number = (atomic_fetch_add(&next, 1) + (unsigned)getpid() * 977) % 60000;
        struct sockaddr_in source = {.sin_family = AF_INET};
        int one = 1;
        source.sin_addr.s_addr = htonl(0x7f010001U + (number / 250) * 256 + number % 250);
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
        (void)bind(fd, (const struct sockaddr *)&source, sizeof(source));
    }
    return __real_connect(fd, address, size);
}

/* ---- joining, a batch on one connection ---- */

struct batch {
    struct fleet *fleet;
    unsigned first, count;
    struct agent_state *states; /* of the batch */
    struct tp_error error;
};

static struct agent *all_agents;

static enum tp_err join_one(struct batch *batch, struct tls_client *tls, const char *host, unsigned number)
{
    struct fleet *fleet = batch->fleet;
    struct agent *agent = &all_agents[number];
    json_t *answer = NULL;
    uint8_t id[16];
    crypt_random(id, sizeof(id));
    agent->host_id =
        mem_printf("%02x%02x%02x%02x-%02x%02x-4%02x%x-8%02x%x-%02x%02x%02x%02x%02x%02x", id[0], id[1], id[2], id[3],
                   id[4], id[5], id[6], id[7] & 15, id[8], id[9] & 15, id[10], id[11], id[12], id[13], id[14], id[15]);
    agent->name = mem_printf("%s%u", fleet->prefix, number);
    json_t *params =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "host_id", agent->host_id, "node_name", agent->name, "role", "node",
                  "tls_pub_key", fleet->public_pem, "ssh_pub_key", fleet->ssh_public, "token", fleet->token);
    struct http_call call = {.host = host, .method = "POST", .path = "/v1/webapi/host/credentials", .body = params};
    enum tp_err err = http_client_request(tls, &call, NULL, &answer, NULL, &batch->error);
    if (err == TP_OK)
        err = agent_state_make(agent->host_id, fleet->key_pem, fleet->ssh_key, fleet->ssh_public, answer,
                               &batch->states[number - batch->first], &batch->error);
    json_decref(answer);
    json_decref(params);
    return err;
}

static void join_work(void *ctx)
{
    struct batch *batch = ctx;
    struct fleet *fleet = batch->fleet;
    const char *pins[] = {fleet->pin, NULL};
    struct tls_client *tls = NULL;
    struct tls_client_options options = {.host = fleet->host,
                                         .port = fleet->port,
                                         .alpn = "http/1.1",
                                         .ca_pins = fleet->pin ? pins : NULL,
                                         .insecure = fleet->pin == NULL,
                                         .timeout_ms = 60000};
    char *host = mem_printf("%s:%u", fleet->host, fleet->port);
    if (tls_client_connect(&options, &tls, &batch->error) == TP_OK) {
        for (unsigned i = 0; i < batch->count; i++) {
            if (join_one(batch, tls, host, batch->first + i) != TP_OK)
                break;
        }
        tls_client_close(tls);
    }
    mem_free(host);
}

static void next_batch(struct fleet *fleet);
static void agent_dial(void *ctx);

static void join_done(void *ctx)
{
    struct batch *batch = ctx;
    struct fleet *fleet = batch->fleet;
    struct tp_error error = {0};
    if (batch->error.code != TP_OK)
        die(&batch->error);
    for (unsigned i = 0; i < batch->count; i++) {
        struct agent *agent = &all_agents[batch->first + i];
        struct agent_state *state = &batch->states[i];
        if (!fleet->cluster) {
            fleet->cluster = mem_strdup(state->identity.cluster);
            fleet->host_ca = mem_strdup(state->host_ca_pems);
        }
        agent->cert = mem_strdup(state->tls_cert);
        agent_state_free(state);
        fleet->joined++;
    }
    mem_free(batch->states);
    mem_free(batch);
    fleet->jobs--;
    next_batch(fleet);
    (void)error;
}

static void next_batch(struct fleet *fleet)
{
    while (fleet->jobs < 4 && fleet->next < fleet->count) {
        struct batch *batch = mem_alloc(sizeof(*batch));
        batch->fleet = fleet;
        batch->first = fleet->next;
        batch->count = fleet->count - fleet->next < JOIN_BATCH ? fleet->count - fleet->next : JOIN_BATCH;
        batch->states = mem_array(batch->count, sizeof(*batch->states));
        fleet->next += batch->count;
        fleet->jobs++;
        work_run(fleet->loop, join_work, join_done, batch);
    }
    if (fleet->joined < fleet->count)
        return;
    for (unsigned i = 0; i < fleet->count; i++) {
        all_agents[i].retry = timer_new(fleet->loop, agent_dial, &all_agents[i]);
        timer_start(all_agents[i].retry, (int64_t)(i / DIALS_AT_ONCE) * 100, 0);
    }
}

/* ---- streams ---- */

struct pipe {
    struct fleet *fleet;
    struct tunnel_stream *stream;
    char mode;
    bool eof;
    struct buf pending; /* echo: no credit yet */
    struct later more;  /* generate: the next turn */
};

static void pipe_pump(struct pipe *pipe)
{
    if (pipe->mode == 'G' && pipe->stream) {
        for (int i = 0; i < 4; i++) {
            size_t put = tunnel_stream_write(pipe->stream, pipe->fleet->chunk, CHUNK);
            pipe->fleet->sent += put;
            if (put < CHUNK)
                return; /* on_writable */
        }
        later_run(pipe->fleet->loop, &pipe->more);
        return;
    }
    if (buf_size(&pipe->pending) > 0) {
        size_t put = tunnel_stream_write(pipe->stream, buf_head(&pipe->pending), buf_size(&pipe->pending));
        buf_consume(&pipe->pending, put);
        tunnel_stream_consume(pipe->stream, put);
    }
    if (pipe->eof && buf_size(&pipe->pending) == 0)
        tunnel_stream_shutdown(pipe->stream);
}

static void on_more(void *ctx)
{
    pipe_pump(ctx);
}

static void on_pipe_data(void *ctx, const uint8_t *data, size_t size)
{
    struct pipe *pipe = ctx;
    if (!pipe->mode) {
        pipe->mode = (char)data[0];
        tunnel_stream_consume(pipe->stream, 1);
        data++;
        size--;
        if (pipe->mode == 'G') {
            tunnel_stream_consume(pipe->stream, size);
            pipe_pump(pipe);
            return;
        }
    }
    if (pipe->mode == 'E') {
        (void)buf_append(&pipe->pending, data, size);
        pipe_pump(pipe);
    } else {
        pipe->fleet->sunk += size;
        tunnel_stream_consume(pipe->stream, size);
    }
}

static void on_pipe_eof(void *ctx)
{
    struct pipe *pipe = ctx;
    pipe->eof = true;
    if (pipe->mode == 'G')
        tunnel_stream_shutdown(pipe->stream);
    else
        pipe_pump(pipe);
}

static void on_pipe_writable(void *ctx)
{
    pipe_pump(ctx);
}

static void on_pipe_close(void *ctx, enum close_reason reason, const char *text)
{
    struct pipe *pipe = ctx;
    (void)reason;
    (void)text;
    pipe->fleet->open_streams--;
    later_cancel(&pipe->more);
    buf_free(&pipe->pending);
    mem_free(pipe);
}

static const struct tunnel_stream_events pipe_events = {
    .on_data = on_pipe_data, .on_eof = on_pipe_eof, .on_writable = on_pipe_writable, .on_close = on_pipe_close};

static void on_open(void *ctx, struct tunnel_stream *stream, const char *kind, const uint8_t *header, size_t size)
{
    const struct link *link = ctx;
    struct agent *agent = link->agent;
    struct pipe *pipe = mem_alloc(sizeof(*pipe));
    (void)kind;
    (void)header;
    (void)size;
    pipe->fleet = agent->fleet;
    pipe->stream = stream;
    pipe->more = (struct later){.fn = on_more, .ctx = pipe};
    buf_init(&pipe->pending, 0);
    agent->fleet->streams++;
    agent->fleet->open_streams++;
    tunnel_stream_accept(stream, &pipe_events, pipe);
}

/* ---- the tunnel ---- */

static void agent_again(struct agent *agent)
{
    int64_t base = (int64_t)1000 << (agent->failures < 5 ? agent->failures : 5);
    uint32_t random;
    base = base > 30000 ? 30000 : base;
    agent->failures++;
    agent->fleet->failures++;
    crypt_random(&random, sizeof(random));
    timer_start(agent->retry, base / 4 + (int64_t)(random % (uint32_t)base), 0);
}

/* Can the proxy open a stream to it? */
static void check_reachable(struct agent *agent)
{
    bool now = (agent->link && agent->link->up) || agent->old;
    if (now == agent->reachable)
        return;
    agent->reachable = now;
    agent->fleet->up += now ? 1 : (unsigned)-1;
    agent->fleet->downs += now ? 0 : 1;
}

static void on_line_close(void *ctx, enum close_reason reason)
{
    struct link *link = ctx;
    (void)reason;
    link->line = NULL;
}

static void on_beat(void *ctx, json_t *result, const struct tp_error *error)
{
    (void)ctx;
    (void)result;
    if (error && error->code != TP_CLOSED)
        (void)fprintf(stderr, "agents: heartbeat: %s\n", error->text);
}

/* The tunnel that the proxy drains closes with its last stream. */
static void drop_old(struct agent *agent)
{
    struct link *old = agent->old;
    agent->old = NULL;
    if (!old)
        return;
    if (old->line)
        rpc_line_close(old->line, CLOSE_DRAIN);
    tunnel_drain(old->tunnel);
}

static void on_ready(void *ctx)
{
    static const struct rpc_events none = {0};
    static const struct rpc_line_events line_events = {.rpc = &none, .on_close = on_line_close};
    struct link *link = ctx;
    struct agent *agent = link->agent;
    link->up = true;
    agent->failures = 0;
    if (rpc_line_open(agent->fleet->loop, link->tunnel, &line_events, link, &link->line) == TP_OK &&
        agent->fleet->heartbeat)
        (void)rpc_request(rpc_line_rpc(link->line), "host.heartbeat",
                          json_pack("{s:s, s:s, s:[s], s:{s:s}, s:{}}", "hostname", agent->name, "version", "bench",
                                    "services", "ssh", "labels", "env", "bench", "cmd_labels"),
                          NULL, 0, on_beat, NULL);
    drop_old(agent);
    check_reachable(agent);
}

static void on_tunnel_close(void *ctx, enum close_reason reason)
{
    struct link *link = ctx;
    struct agent *agent = link->agent;
    (void)reason;
    if (agent->old == link)
        agent->old = NULL;
    if (agent->link == link) {
        agent->link = NULL;
        agent_again(agent);
    }
    check_reachable(agent);
    mem_free(link);
}

static void on_drain(void *ctx)
{
    struct link *link = ctx;
    struct agent *agent = link->agent;
    uint32_t random;
    if (agent->link != link)
        return;
    drop_old(agent);
    agent->link = NULL;
    agent->old = link;
    crypt_random(&random, sizeof(random));
    timer_start(agent->retry, random % DRAIN_SPREAD_MS, 0);
}

static const struct tunnel_events tunnel_events = {
    .on_ready = on_ready, .on_open = on_open, .on_drain = on_drain, .on_close = on_tunnel_close};

static void on_tls_ready(void *ctx)
{
    struct agent *agent = ctx;
    struct stream *stream = agent->stream;
    agent->stream = NULL;
    agent->link = mem_alloc(sizeof(*agent->link));
    agent->link->agent = agent;
    agent->link->tunnel = tunnel_new(agent->fleet->loop, stream, true, &tunnel_events, agent->link);
}

static void on_tls_data(void *ctx, const uint8_t *data, size_t size)
{
    (void)ctx;
    (void)data;
    (void)size;
}

static void on_tls_close(void *ctx, enum close_reason reason)
{
    struct agent *agent = ctx;
    (void)reason;
    agent->stream = NULL;
    agent_again(agent);
}

static void on_dialled(void *ctx, int fd, const struct tp_error *error)
{
    static const struct stream_events events = {
        .on_ready = on_tls_ready, .on_data = on_tls_data, .on_close = on_tls_close};
    struct agent *agent = ctx;
    agent->dial = NULL;
    if (error) {
        agent_again(agent);
        return;
    }
    agent->stream = tls_stream_new(agent->fleet->loop, fd, agent->tls, agent->fleet->cluster, &events, agent);
}

static void agent_dial(void *ctx)
{
    static const char *const alpn[] = {"tport-tunnel", NULL};
    struct agent *agent = ctx;
    struct fleet *fleet = agent->fleet;
    struct tp_error error = {0};
    if (!agent->tls) {
        struct tls_context_options options = {.cert_pem = agent->cert,
                                              .key_pem = fleet->key_pem,
                                              .alpn = alpn,
                                              .alpn_required = true,
                                              .tls13_only = true,
                                              .peer = TLS_PEER_PROXY,
                                              .ca_pems = fleet->host_ca};
        if (tls_context_new(&options, &agent->tls, &error) != TP_OK)
            die(&error);
    }
    fleet->dials++;
    agent->dial = dial_start(fleet->loop, fleet->host, fleet->port, CONNECT_MS, on_dialled, agent);
}

/* ---- all of them ---- */

static void on_report(void *ctx)
{
    const struct fleet *fleet = ctx;
    (void)printf("{\"joined\": %u, \"up\": %u, \"dials\": %llu, \"failures\": %llu, \"downs\": %llu, \"streams\": "
                 "%llu, \"open_streams\": %llu, "
                 "\"sunk\": %llu, \"sent\": %llu}\n",
                 fleet->joined, fleet->up, (unsigned long long)fleet->dials, (unsigned long long)fleet->failures,
                 (unsigned long long)fleet->downs, (unsigned long long)fleet->streams,
                 (unsigned long long)fleet->open_streams, (unsigned long long)fleet->sunk,
                 (unsigned long long)fleet->sent);
    (void)fflush(stdout);
}

static const char help[] =
    "usage: agents --target=HOST:PORT --token=TOKEN [options]\n"
    "Simulates agents of a tport cluster: each joins with the token under a name of its own, holds one tunnel and "
    "takes every\n"
    "stream (first byte: S sink, E echo, G send at full speed). Runs until it is killed and prints a line of JSON "
    "every\n"
    "200 ms. The hosts stay registered in that cluster (tportctl nodes ls): use one of your own, made for this.\n"
    "  --target=HOST:PORT  the proxy\n"
    "  --token=TOKEN       a join token for nodes that may be used that often\n"
    "  --ca-pin=sha256:... pin of the cluster's host CA; without it any certificate is taken\n"
    "  --count=N           agents (default 1, at most 50000)\n"
    "  --prefix=NAME       their names: NAME0, NAME1, ... (default bench)\n"
    "  --no-heartbeat      only tunnels: the nodes are not announced\n";

static bool parse(int argc, char **argv, struct fleet *fleet)
{
    static const struct option table[] = {
        {"target", required_argument, NULL, 't'}, {"token", required_argument, NULL, 'k'},
        {"ca-pin", required_argument, NULL, 'p'}, {"count", required_argument, NULL, 'c'},
        {"prefix", required_argument, NULL, 'x'}, {"no-heartbeat", no_argument, NULL, 'b'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    fleet->count = 1;
    fleet->prefix = "bench";
    fleet->heartbeat = true;
    for (int c; (c = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        char *colon;
        switch (c) {
        case 't':
            fleet->host = mem_strdup(optarg);
            colon = strrchr(fleet->host, ':');
            if (!colon)
                return false;
            *colon = '\0';
            fleet->port = (uint16_t)strtoul(colon + 1, NULL, 10);
            break;
        case 'k':
            fleet->token = optarg;
            break;
        case 'p':
            fleet->pin = optarg;
            break;
        case 'c':
            fleet->count = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'x':
            fleet->prefix = optarg;
            break;
        case 'b':
            fleet->heartbeat = false;
            break;
        case 'h':
            (void)fputs(help, stdout);
            exit(0);
        default:
            return false;
        }
    }
    return fleet->host && fleet->token && fleet->count >= 1 && fleet->count <= AGENTS_MAX && optind == argc;
}

int main(int argc, char **argv)
{
    struct fleet *fleet = mem_alloc(sizeof(*fleet));
    struct rlimit files;
    if (!parse(argc, argv, fleet)) {
        (void)fputs(help, stderr);
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    struct key *tls_key = key_generate(KEY_P256);
    struct key *ssh_key = key_generate(KEY_ED25519);
    fleet->key_pem = key_to_pem(tls_key);
    fleet->public_pem = key_public_pem(tls_key);
    fleet->ssh_key = key_to_openssh(ssh_key, "bench");
    fleet->ssh_public = key_public_ssh(ssh_key, NULL);
    key_free(tls_key);
    key_free(ssh_key);
    fleet->loop = loop_new();
    all_agents = mem_array(fleet->count, sizeof(*all_agents));
    for (unsigned i = 0; i < fleet->count; i++)
        all_agents[i] = (struct agent){.fleet = fleet, .number = i};
    fleet->report = timer_new(fleet->loop, on_report, fleet);
    timer_start(fleet->report, REPORT_MS, REPORT_MS);
    next_batch(fleet);
    loop_run(fleet->loop);
    return 0;
}
