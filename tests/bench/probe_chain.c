/* Executes itself as often as its argument says, so that exec costs what it costs, without fork and exit.
 * Without a C library's own start, which takes four times what exec does. */
#include <unistd.h>

/* A program begins with its stack: the number of arguments, then the arguments. */
#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x0, sp\n\tbl begin\n");
#else
#error "how a program of this processor begins is not known here"
#endif

/* One less, in place; 0: there is none less. */
static int count_down(char *digits)
{
  char *digit = digits;
  while (*digit)
    digit++;
  while (digit > digits)
    if (*--digit != '0') {
      --*digit;
      return 1;
    } else {
      *digit = '9';
    }
  return 0;
}

void begin(long *stack)
{
  char **argv = (char **)(stack + 1);
  if (stack[0] != 2)
    _exit(2);
  if (!count_down(argv[1]))
    _exit(0);
  execve(argv[0], argv, argv + stack[0] + 1);
  _exit(127);
}
