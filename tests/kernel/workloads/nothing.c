/* Executed to be seen: ends with the code that its last argument is, or 0. */
#include <stdlib.h>

int main(int argc, char **argv)
{
  return argc > 1 ? atoi(argv[argc - 1]) & 0xff : 0;
}
