#include "recording/sizes.h"

#include "base/mem.h"

struct sizes {
    struct timer *quiet; /* active: the last line is younger than SIZES_MS */
    sizes_cb *fn;
    void *ctx;
    uint32_t cols, rows;           /* now */
    uint32_t told_cols, told_rows; /* in the record */
};

static void tell(struct sizes *sizes)
{
    if (sizes->cols == sizes->told_cols && sizes->rows == sizes->told_rows) {
        return;
    }
    sizes->told_cols = sizes->cols;
    sizes->told_rows = sizes->rows;
    timer_start(sizes->quiet, SIZES_MS, 0);
    sizes->fn(sizes->ctx, sizes->cols, sizes->rows);
}

static void on_quiet(void *ctx)
{
    tell(ctx);
}

struct sizes *sizes_new(struct loop *loop, uint32_t cols, uint32_t rows, sizes_cb *fn, void *ctx)
{
    struct sizes *sizes = mem_alloc(sizeof(*sizes));
    *sizes = (struct sizes){.fn = fn, .ctx = ctx, .cols = cols, .rows = rows, .told_cols = cols, .told_rows = rows};
    sizes->quiet = timer_new(loop, on_quiet, sizes);
    return sizes;
}

void sizes_set(struct sizes *sizes, uint32_t cols, uint32_t rows)
{
    sizes->cols = cols;
    sizes->rows = rows;
    if (!timer_is_active(sizes->quiet)) {
        tell(sizes);
    }
}

void sizes_flush(struct sizes *sizes)
{
    if (sizes != NULL) {
        tell(sizes);
    }
}

void sizes_free(struct sizes *sizes)
{
    if (sizes != NULL) {
        timer_free(sizes->quiet);
        mem_free(sizes);
    }
}
