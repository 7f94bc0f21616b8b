/* renamed_folder PLACE COUNT: calls chroot(""), which is refused, in a folder that another process gives two names by
 * turns. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONG "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHORT "b"

static void stay_on(int cpu)
{
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  sched_setaffinity(0, sizeof one, &one);
}

static void rename_for_ever(void)
{
  for (;;)
    renameat2(AT_FDCWD, "../" LONG, AT_FDCWD, "../" SHORT, RENAME_EXCHANGE);
}

int main(int argc, char **argv)
{
  if (argc != 3 || chdir(argv[1]))
    return 1;
  mkdir(LONG, 0700);
  mkdir(SHORT, 0700);
  if (chdir(LONG))
    return 1;
  const pid_t renamer = fork();
  stay_on(renamer == 0);
  if (renamer == 0)
    rename_for_ever();
  for (int left = atoi(argv[2]); left > 0; left--)
    if (chroot("") == 0)
      return 2;
  kill(renamer, SIGKILL);
  waitpid(renamer, NULL, 0);
  return 0;
}
