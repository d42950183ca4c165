/* Whatever is skimmed is what the parser takes, with that method and one params. */
#include "base/json.h"
#include "core/rpc.h"
#include "core/rpc_skim.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char method[RPC_METHOD_ROOM];
    json_t *body = NULL;
    if (!rpc_skim(data, size, method))
        return 0;
    if (json_parse_object(data, size, RPC_FRAME_MAX, &body, NULL) != TP_OK || json_object_size(body) != 2 ||
        !json_is_object(json_object_get(body, "params")) || strcmp(json_get_text(body, "method", ""), method) != 0)
        __builtin_trap();
    json_decref(body);
    return 0;
}
