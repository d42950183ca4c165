/*
 * What is kept of requests and answers because it must be whole before it goes on: bodies that decide, lists of which some items
 * are not shown or not deleted, and what is left of these while their clients take it slowly. One list may have 64 MB and a person many
 * connections, so all of it together is bounded, and what one person has of it.
 */
#include "agent/kube_priv.h"

#include <string.h>

#define ROOM_ALL (4 * KUBE_LIST_MAX)
#define ROOM_OF_ONE (2 * KUBE_LIST_MAX)

static size_t kept(const struct kube_conn *conn)
{
    return buf_size(&conn->out) + buf_size(&conn->x.held) + buf_size(&conn->x.copy) + kube_sweep_kept(conn->x.sweep) +
           (conn->x.filter != NULL ? kube_filter_kept(conn->x.filter) : 0);
}

bool kube_has_room(const struct kube_conn *conn, size_t size)
{
    size_t all = size;
    size_t own = size;
    if (kept(conn) + size <= KUBE_OUT_HIGH) { /* each connection may have so much */
        return true;
    }
    for (const struct kube_conn *other = conn->kube->conns; other != NULL; other = other->next) {
        size_t its = kept(other);
        all += its;
        own += strcmp(other->user, conn->user) == 0 ? its : 0;
    }
    return all <= ROOM_ALL && own <= ROOM_OF_ONE;
}
