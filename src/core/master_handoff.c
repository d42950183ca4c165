/*
 * A worker gives a connection to another one: because that one holds the target's tunnel, or (worker -1) because an agent
 * wants its second tunnel anywhere but here. Master passes the descriptor on and nothing else: a worker that was taken over
 * must not be able to fill master with descriptors, to break the line of another, or to give a connection an address that
 * is not its own.
 */
#include "core/master_priv.h"

#include "base/address.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HANDOFF_QUEUE_MAX ((size_t)32 * 1024) /* some 300 descriptors */
#define SID_MAX 64

/* Has this machine in front of us the right to say for whom it speaks? */
static bool is_balancer(const struct master *master, const struct sockaddr *peer)
{
    const json_t *ranges = json_object_get(master->plan.worker, "proxy_protocol_trusted");
    size_t i;
    json_t *item;
    if (strcmp(json_get_text(master->plan.worker, "proxy_protocol", ""), "off") == 0)
        return false;
    json_array_foreach (ranges, i, item) {
        struct cidr cidr;
        if (json_string_value(item) && cidr_parse(json_string_value(item), &cidr) == TP_OK &&
            cidr_contains(&cidr, peer))
            return true;
    }
    return false;
}

/* The client's address: the socket's own, or what the worker read in the PROXY header of a trusted balancer. */
static bool address_of(const struct master *master, const json_t *params, int fd, char out[ADDRESS_TEXT_SIZE])
{
    struct sockaddr_storage peer = {0};
    socklen_t size = sizeof(peer);
    const char *said = json_get_text(params, "address", "");
    if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0 ||
        (peer.ss_family != AF_INET && peer.ss_family != AF_INET6) || strlen(said) >= ADDRESS_TEXT_SIZE)
        return false;
    if (is_balancer(master, (const struct sockaddr *)&peer))
        memcpy(out, said, strlen(said) + 1);
    else
        address_format((const struct sockaddr *)&peer, out);
    return true;
}

/* The worker of the newest generation with the shortest queue, other than child; child itself when there is none. */
static struct master_child *any_other(struct master_child *child)
{
    struct master_child *best = child;
    for (struct master_child *other = child->master->children; other; other = other->next) {
        bool good = other != child && other->role == CHILD_WORKER && other->line && other->ready && !other->leaving;
        if (good && (best == child || rpc_queued(other->line) < rpc_queued(best->line)))
            best = other;
    }
    return best;
}

/* The worker of that number other than child, or NULL. */
static struct master_child *numbered(const struct master_child *child, int64_t number)
{
    for (struct master_child *other = child->master->children; other; other = other->next) {
        if (other != child && other->role == CHILD_WORKER && (int64_t)other->number == number)
            return other;
    }
    return NULL;
}

void master_make_pair(struct master_child *child, const json_t *params)
{
    const char *sid = json_get_text(params, "sid", "");
    struct master_child *target = numbered(child, json_get_int(params, "worker", -1));
    int fds[2];
    if (child->role != CHILD_WORKER || !target || !target->line || !child->line || strlen(sid) > SID_MAX ||
        rpc_queued(target->line) > HANDOFF_QUEUE_MAX || rpc_queued(child->line) > HANDOFF_QUEUE_MAX ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
        return;
    rpc_event_fd(target->line, "pair", json_object(), fds[0]);
    rpc_event_fd(child->line, "pair", json_pack("{s:s}", "sid", sid), fds[1]);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

void master_pass_handoff(struct master_child *child, const json_t *params, int fd)
{
    int64_t number = json_get_int(params, "worker", -2);
    char address[ADDRESS_TEXT_SIZE];
    struct master_child *target = NULL;
    if (child->role != CHILD_WORKER || !address_of(child->master, params, fd, address))
        return;
    if (number == -1) {
        target = any_other(child);
    } else {
        target = numbered(child, number);
    }
    if (target && target->line && rpc_queued(target->line) <= HANDOFF_QUEUE_MAX)
        rpc_event_fd(target->line, "handoff",
                     json_pack("{s:I, s:s}", "worker", (json_int_t)target->number, "address", address), fd);
}
