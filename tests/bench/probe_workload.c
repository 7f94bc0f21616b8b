/* What the probes slow down, as often as each line of standard input says:
 *   probe_workload exec PATH    vfork, exec and exit of PATH
 *   probe_workload chain PATH   exec alone: PATH executes itself as often
 *   probe_workload tcp          a connection to itself on loopback, 64 bytes each way
 *   probe_workload io           64 bytes each way on one connection
 *   probe_workload udp          64 bytes each way between two UDP sockets
 * Answers each line by CPU and elapsed microseconds for one. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double seconds(struct timeval time)
{
  return time.tv_sec + time.tv_usec * 1e-6;
}

static double cpu_s(void)
{
  struct rusage own, children;
  getrusage(RUSAGE_SELF, &own);
  getrusage(RUSAGE_CHILDREN, &children);
  return seconds(own.ru_utime) + seconds(own.ru_stime) + seconds(children.ru_utime) + seconds(children.ru_stime);
}

static double elapsed_s(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

static void need(int result, const char *call)
{
  if (result < 0) {
    perror(call);
    exit(1);
  }
}

/* Of all ways to start a program the one that costs the least beside exec itself. */
static void execute(char *path, char *argument)
{
  char *argv[] = {path, argument, 0};
  int status;
  pid_t child = vfork();
  if (!child) {
    execve(path, argv, environ);
    _exit(127);
  }
  need(child, "vfork");
  need(waitpid(child, &status, 0), "waitpid");
  if (status) {
    fprintf(stderr, "%s ended with %#x\n", path, status);
    exit(1);
  }
}

static void execute_chain(char *path, int count)
{
  char left[16];
  snprintf(left, sizeof(left), "%d", count - 1);
  execute(path, left);
}

static int listener(struct sockaddr_in *address)
{
  socklen_t length = sizeof(*address);
  int made = socket(AF_INET, SOCK_STREAM, 0);
  memset(address, 0, sizeof(*address));
  address->sin_family = AF_INET;
  address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  need(bind(made, (struct sockaddr *)address, sizeof(*address)), "bind");
  need(listen(made, 64), "listen");
  getsockname(made, (struct sockaddr *)address, &length);
  return made;
}

static void exchange(int client, int server)
{
  char bytes[64] = {0};
  need(send(client, bytes, sizeof(bytes), 0), "send");
  need(recv(server, bytes, sizeof(bytes), 0), "recv");
  need(send(server, bytes, sizeof(bytes), 0), "send");
  need(recv(client, bytes, sizeof(bytes), 0), "recv");
}

struct ends {
  int listening, client, server;
  struct sockaddr_in address;
};

static void open_tcp(struct ends *ends)
{
  ends->client = socket(AF_INET, SOCK_STREAM, 0);
  need(connect(ends->client, (struct sockaddr *)&ends->address, sizeof(ends->address)), "connect");
  ends->server = accept(ends->listening, 0, 0);
  need(ends->server, "accept");
}

/* The server resets: no port is left in TIME_WAIT, so that any number of connections can follow. */
static void close_tcp(struct ends *ends)
{
  struct linger reset = {1, 0};
  setsockopt(ends->server, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  close(ends->server);
  close(ends->client);
}

/* Both connected to each other. */
static void open_udp(struct ends *ends)
{
  struct sockaddr_in address = ends->address;
  socklen_t length = sizeof(address);
  address.sin_port = 0;
  ends->client = socket(AF_INET, SOCK_DGRAM, 0);
  ends->server = socket(AF_INET, SOCK_DGRAM, 0);
  need(bind(ends->server, (struct sockaddr *)&address, sizeof(address)), "bind");
  getsockname(ends->server, (struct sockaddr *)&address, &length);
  need(connect(ends->client, (struct sockaddr *)&address, sizeof(address)), "connect");
  getsockname(ends->client, (struct sockaddr *)&address, &length);
  need(connect(ends->server, (struct sockaddr *)&address, sizeof(address)), "connect");
}

static void work(const char *what, char *path, struct ends *ends)
{
  if (!strcmp(what, "exec")) {
    execute(path, 0);
  } else if (!strcmp(what, "tcp")) {
    open_tcp(ends);
    exchange(ends->client, ends->server);
    close_tcp(ends);
  } else {
    exchange(ends->client, ends->server);
  }
}

int main(int argc, char **argv)
{
  struct ends ends;
  char line[32];
  if (argc < 2)
    return 1;
  ends.listening = listener(&ends.address);
  if (!strcmp(argv[1], "io"))
    open_tcp(&ends);
  else if (!strcmp(argv[1], "udp"))
    open_udp(&ends);
  while (fgets(line, sizeof(line), stdin)) {
    int count = atoi(line);
    double cpu = cpu_s(), elapsed = elapsed_s();
    if (!strcmp(argv[1], "chain"))
      execute_chain(argv[2], count);
    else
      for (int i = 0; i < count; i++)
        work(argv[1], argv[2], &ends);
    printf("%.4f %.4f\n", (cpu_s() - cpu) / count * 1e6, (elapsed_s() - elapsed) / count * 1e6);
    fflush(stdout);
  }
  return 0;
}
