#include "auth/space.h"

#include <stdint.h>

#define RESERVE_PARTS 20 /* of the disk */
#define RESERVE_MAX ((uint64_t)128 * 1024 * 1024)

enum space space_of(const struct statvfs *fs)
{
    uint64_t left = (uint64_t)fs->f_bavail * fs->f_frsize;
    uint64_t reserve = (uint64_t)fs->f_blocks * fs->f_frsize / RESERVE_PARTS;
    if (reserve > RESERVE_MAX) {
        reserve = RESERVE_MAX;
    }
    if (left >= reserve) {
        return SPACE_FOR_ALL;
    }
    return left >= reserve / 2 ? SPACE_FOR_THE_LOG : SPACE_FOR_PEOPLE;
}
