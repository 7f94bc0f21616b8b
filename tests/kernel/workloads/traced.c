/* Takes hold of a child of its own by ptrace(2), writes to it, and lets it go. */
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static long word;

int main(void)
{
  const pid_t child = fork();
  if (child == 0)
    for (;;)
      pause();
  if (ptrace(PTRACE_ATTACH, child, 0, 0) != 0 || waitpid(child, NULL, 0) != child)
    return 1;
  if (ptrace(PTRACE_POKEDATA, child, &word, 7) != 0 || ptrace(PTRACE_PEEKDATA, child, &word, 0) != 7)
    return 2;
  if (ptrace(PTRACE_DETACH, child, 0, 0) != 0)
    return 3;
  printf("%d\n", child);
  kill(child, SIGKILL);
  return waitpid(child, NULL, 0) == child ? 0 : 4;
}
