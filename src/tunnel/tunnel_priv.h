/* What tunnel.c (frames, the tunnel's life) and tunnel_stream.c (streams) share. */
#ifndef TUNNEL_TUNNEL_PRIV_H
#define TUNNEL_TUNNEL_PRIV_H

#include "tunnel/tunnel_inner.h"

struct tunnel_stream {
    struct tunnel *tunnel; /* NULL: it died while the owner had not yet accepted the stream */
    struct loop *loop;
    uint32_t id;
    enum half_state out;
    enum half_state in;
    bool incoming;
    bool in_table;  /* its id is in use */
    bool owned;     /* somebody holds the pointer and waits for on_close (or has still to accept or close it) */
    bool accepted;  /* events are set */
    bool ending;    /* on_close is due, with reason and text */
    bool discard;   /* closed by the owner: bytes that still come are dropped */
    bool early_eof; /* the peer's end came before on_data could be called */
    bool deferred;  /* early bytes wait for the end of the turn */
    bool wants_credit;
    bool is_waiting; /* in the tunnel's list of writers that wait for the transport */
    enum close_reason reason;
    char *text; /* or NULL */
    const struct tunnel_stream_events *events;
    void *ctx;
    uint32_t credit;   /* bytes we may send */
    uint32_t most;     /* of credit: what the peer may have made of it */
    uint32_t window;   /* bytes the peer may send */
    uint32_t granted;  /* of window: what we have made of it */
    uint32_t unread;   /* bytes given to the owner that it has not consumed */
    uint32_t refund;   /* bytes consumed for which no credit has been sent */
    int64_t second_ms; /* since when second_bytes have come */
    uint32_t second_bytes;
    bool is_bulk; /* it said more than TUNNEL_LIGHT_BYTES in this second or the one before */
    int64_t opened_ms;
    struct buf early; /* bytes from before accept */
    struct later later;
    struct tunnel_stream *hash_next;
    struct tunnel_stream *next, *prev;           /* all streams of the tunnel */
    struct tunnel_stream *wait_next, *wait_prev; /* writers */
};

struct tunnel {
    struct loop *loop;
    const struct tunnel_transport *transport;
    void *transport_ctx;
    const struct tunnel_events *events;
    void *ctx;
    struct timer *timer;
    bool dialler;
    bool ready;   /* the peer's hello has come */
    bool closing; /* nothing is sent or taken any more */
    bool drain_sent;
    bool drain_acked; /* the peer opens no more streams */
    bool drain_seen;  /* we open no more streams */
    bool pong_due;
    uint8_t pings_out;
    enum close_reason reason;
    uint8_t pong[8];
    uint64_t ping_number;
    uint16_t version;  /* of both, once ready */
    int64_t extra;     /* granted to streams beyond TUNNEL_WINDOW */
    int64_t light_ms;  /* when a stream that says little was last heard */
    uint32_t light_id; /* which */
    uint32_t shared;   /* the window of the others for the second after that */
    int64_t started_ms;
    int64_t heard_ms;

    uint32_t last_own_id;
    uint32_t last_peer_id;
    size_t own_count, peer_count, pending_count;
    size_t table_count, bucket_count;
    struct tunnel_stream **buckets;
    struct tunnel_stream *all;
    struct tunnel_stream *wait_first, *wait_last;

    /* The frame that is being read. */
    uint8_t header[FRAME_HEADER_SIZE];
    uint8_t header_have;
    struct frame frame;
    size_t payload_left; /* data frames: bytes still to come */
    struct tunnel_stream *data_stream;
    struct buf payload;     /* other frames, when they come in pieces */
    struct buf open_header; /* of an open frame with MORE; its id is last_peer_id */
    bool open_more;
};

/* Sends one frame, unless the tunnel is closing. */
void tunnel_send(struct tunnel *tunnel, enum frame_type type, uint8_t flags, uint32_t id, const void *payload,
                 size_t size);
/* Ends the tunnel because the peer broke a rule; what goes to the debug log. */
void tunnel_violation(struct tunnel *tunnel, const char *what);
/* Closes the tunnel (DRAIN) when it is draining and the last stream is gone. */
void tunnel_check_drained(struct tunnel *tunnel);

/* Streams. */
struct tunnel_stream *tunnel_stream_find(const struct tunnel *tunnel, uint32_t id);
/* A new stream in the table, opened by the peer (incoming) or by us. */
struct tunnel_stream *tunnel_stream_new(struct tunnel *tunnel, uint32_t id, bool incoming);
/* The end as seen by the owner: on_close comes at the end of the turn. The first reason wins. */
void tunnel_stream_end(struct tunnel_stream *stream, enum close_reason reason, const char *text);
/* Sends our reset, once. */
void tunnel_stream_send_reset(struct tunnel_stream *stream, enum close_reason reason, const char *text);
/* Takes the id out of the table when both halves are closed, and frees what nobody owns. */
void tunnel_stream_settle(struct tunnel_stream *stream);
/* Frames of the peer for this stream; half_step has allowed them. */
void tunnel_stream_got_accept(struct tunnel_stream *stream);
void tunnel_stream_got_data(struct tunnel_stream *stream, const uint8_t *data, size_t size);
/* The header of a data frame with so many bytes. */
void tunnel_stream_got_data_frame(struct tunnel_stream *stream, uint32_t size);
void tunnel_stream_got_credit(struct tunnel_stream *stream, uint32_t credit);
void tunnel_stream_got_end(struct tunnel_stream *stream);
void tunnel_stream_got_blocked(struct tunnel_stream *stream);
void tunnel_stream_got_reset(struct tunnel_stream *stream, enum close_reason reason, const char *text);
/* Calls waiting writers in their order until the transport is full. */
void tunnel_stream_wake_writers(struct tunnel *tunnel);
/* The tunnel is gone: on_close of every stream, now. */
void tunnel_stream_end_all(struct tunnel *tunnel);

#endif
