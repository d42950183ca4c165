/* tportctl: see src/cli/tportctl. */
#include "cli/tportctl/tportctl.h"

int main(int argc, char **argv)
{
    return tportctl_main(argc, argv);
}
