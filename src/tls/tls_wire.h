/* The socket under TLS, for tls_stream.c: reads several records with one system call and sends several with one. Bytes
 * wait here only while there are some: an idle connection holds no buffer. */
#ifndef TLS_TLS_WIRE_H
#define TLS_TLS_WIRE_H

#include "base/buf.h"

#include <openssl/bio.h>

#define WIRE_BATCH ((size_t)64 * 1024)  /* read at once */
#define WIRE_SEND ((size_t)128 * 1024)  /* gathered before a send */
#define WIRE_FIRST ((size_t)16 * 1024)  /* read at first: who asks for little needs no more */
#define WIRE_EARLY ((size_t)4 * 1024)   /* read at once, before the peer has proved who he is, */
#define WIRE_GATHER ((size_t)16 * 1024) /* and gathered before a send then */

struct tls_wire {
    int fd;       /* the stream's */
    bool ready;   /* the peer has proved who he is, or is the server that we dialled */
    bool more;    /* the caller sends more at once */
    bool emptied; /* the last receive gave less than was asked for */
    size_t most;  /* read at once: grows while the socket gives as much */
    struct buf in;
    struct buf out;
};

void tls_wire_init(struct tls_wire *wire, int fd);
/* Frees the buffers, not the descriptor. */
void tls_wire_free(struct tls_wire *wire);
/* A BIO over it, to be owned by an SSL; wire must live longer. NULL when memory is short. */
BIO *tls_wire_bio(struct tls_wire *wire);
/* Sends what is gathered: 1 all of it is out, 0 the socket takes no more now, -1 it failed (errno). */
int tls_wire_send(struct tls_wire *wire);

#endif
