#include "tls/tls_wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

void tls_wire_init(struct tls_wire *wire, int fd)
{
    *wire = (struct tls_wire){.fd = fd, .most = WIRE_FIRST};
    buf_init(&wire->in, 0);
    buf_init(&wire->out, 0);
}

void tls_wire_free(struct tls_wire *wire)
{
    buf_free(&wire->in);
    buf_free(&wire->out);
}

int tls_wire_send(struct tls_wire *wire)
{
    while (buf_size(&wire->out) > 0) {
        ssize_t put =
            send(wire->fd, buf_head(&wire->out), buf_size(&wire->out), MSG_NOSIGNAL | (wire->more ? MSG_MORE : 0));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
        buf_consume(&wire->out, (size_t)put);
    }
    buf_free(&wire->out);
    return 1;
}

/* What BoringSSL gives to write is whole records; it always goes into the buffer, which the caller bounds. */
static int on_write(BIO *bio, const char *data, int size)
{
    struct tls_wire *wire = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    (void)buf_append(&wire->out, data, (size_t)size);
    return size;
}

/* Fills the buffer: 1, 0 at the peer's end, -1 with the BIO's retry flag or errno. */
static int receive(BIO *bio, struct tls_wire *wire)
{
    size_t most = wire->ready ? wire->most : WIRE_EARLY;
    ssize_t got;
    do {
        got = recv(wire->fd, buf_reserve(&wire->in, most), most, 0);
    } while (got < 0 && errno == EINTR);
    wire->emptied = got < (ssize_t)most;
    if (got > 0) {
        buf_commit(&wire->in, (size_t)got);
        wire->most = (size_t)got < WIRE_FIRST ? WIRE_FIRST : WIRE_BATCH;
        return 1;
    }
    buf_free(&wire->in);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_read(bio);
    if (got == 0)
        errno = 0;
    return (int)got;
}

static int on_read(BIO *bio, char *data, int size)
{
    struct tls_wire *wire = BIO_get_data(bio);
    size_t take;
    BIO_clear_retry_flags(bio);
    if (size <= 0)
        return 0;
    if (buf_size(&wire->in) == 0) {
        int got = receive(bio, wire);
        if (got <= 0)
            return got;
    }
    take = buf_size(&wire->in) < (size_t)size ? buf_size(&wire->in) : (size_t)size;
    memcpy(data, buf_head(&wire->in), take);
    buf_consume(&wire->in, take);
    if (buf_size(&wire->in) == 0)
        buf_free(&wire->in);
    return (int)take;
}

static long on_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    if (command != BIO_CTRL_FLUSH)
        return 0;
    BIO_clear_retry_flags(bio);
    switch (tls_wire_send(BIO_get_data(bio))) {
    case 1:
        return 1;
    case 0:
        BIO_set_retry_write(bio);
        return -1;
    default:
        return -1;
    }
}

static int on_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static int on_destroy(BIO *bio)
{
    (void)bio;
    return 1;
}

BIO *tls_wire_bio(struct tls_wire *wire)
{
    static const BIO_METHOD method = {.type = BIO_TYPE_SOURCE_SINK,
                                      .name = "wire",
                                      .bwrite = on_write,
                                      .bread = on_read,
                                      .ctrl = on_ctrl,
                                      .create = on_create,
                                      .destroy = on_destroy};
    BIO *bio = BIO_new(&method);
    if (bio)
        BIO_set_data(bio, wire);
    return bio;
}
