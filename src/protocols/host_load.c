#include "protocols/host_load.h"

#include "base/mem.h"

struct host_load {
    struct map *loads;
    char *host_id;
    size_t users; /* host_load_get and calls under way */
    size_t calls;
    size_t bytes;
    struct host_load_line *lines;
};

struct host_load *host_load_get(struct map *loads, const char *host_id)
{
    struct host_load *load = map_get(loads, host_id);
    if (!load) {
        load = mem_alloc(sizeof(*load));
        load->loads = loads;
        load->host_id = mem_strdup(host_id);
        (void)map_set(loads, host_id, load);
    }
    load->users++;
    return load;
}

void host_load_drop(struct host_load *load)
{
    if (--load->users > 0)
        return;
    (void)map_remove(load->loads, load->host_id);
    mem_free(load->host_id);
    mem_free(load);
}

static bool is_full(const struct host_load *load)
{
    return load->calls >= HOST_LOAD_CALLS || load->bytes >= HOST_LOAD_BYTES;
}

static void pause_all(const struct host_load *load, bool pause)
{
    for (const struct host_load_line *entry = load->lines; entry; entry = entry->next)
        rpc_line_pause(entry->line, pause);
}

void host_load_line_add(struct host_load *load, struct host_load_line *entry, struct rpc_line *line)
{
    entry->load = load;
    entry->line = line;
    entry->next = load->lines;
    entry->prev = &load->lines;
    if (entry->next)
        entry->next->prev = &entry->next;
    load->lines = entry;
    if (is_full(load))
        rpc_line_pause(line, true);
}

void host_load_line_remove(struct host_load_line *entry)
{
    *entry->prev = entry->next;
    if (entry->next)
        entry->next->prev = entry->prev;
}

void host_load_begin(struct host_load *load, size_t size)
{
    load->users++;
    load->calls++;
    load->bytes += size;
    if (is_full(load))
        pause_all(load, true);
}

void host_load_end(struct host_load *load, size_t size)
{
    bool was_full = is_full(load);
    load->calls--;
    load->bytes -= size;
    if (was_full && !is_full(load))
        pause_all(load, false);
    host_load_drop(load);
}
