/* What the probes slow down, as often as each line of standard input says:
 *   probe_workload exec PATH    vfork, exec and exit of PATH
 *   probe_workload chain PATH   exec alone: PATH executes itself as often
 *   probe_workload tcp          a connection to itself on loopback, 64 bytes each way
 *   probe_workload tcp6         the same by IPv6
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

union address {
  struct sockaddr any;
  struct sockaddr_in ipv4;
  struct sockaddr_in6 ipv6;
};

static void bind_to_loopback(int made, int family, union address *address)
{
  socklen_t length = sizeof(*address);
  memset(address, 0, sizeof(*address));
  address->any.sa_family = family;
  if (family == AF_INET)
    address->ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  else
    address->ipv6.sin6_addr = in6addr_loopback;
  need(bind(made, &address->any, length), "bind");
  getsockname(made, &address->any, &length);
}

static int listener(int family, union address *address)
{
  int made = socket(family, SOCK_STREAM, 0);
  bind_to_loopback(made, family, address);
  need(listen(made, 64), "listen");
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
  union address address;
};

static void open_tcp(struct ends *ends)
{
  ends->client = socket(ends->address.any.sa_family, SOCK_STREAM, 0);
  need(connect(ends->client, &ends->address.any, sizeof(ends->address)), "connect");
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
  union address address;
  socklen_t length = sizeof(address);
  ends->client = socket(AF_INET, SOCK_DGRAM, 0);
  ends->server = socket(AF_INET, SOCK_DGRAM, 0);
  bind_to_loopback(ends->server, AF_INET, &address);
  need(connect(ends->client, &address.any, length), "connect");
  getsockname(ends->client, &address.any, &length);
  need(connect(ends->server, &address.any, length), "connect");
}

static void work(const char *what, char *path, struct ends *ends)
{
  if (!strcmp(what, "exec")) {
    execute(path, 0);
  } else if (!strncmp(what, "tcp", 3)) {
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
  ends.listening = listener(strcmp(argv[1], "tcp6") ? AF_INET : AF_INET6, &ends.address);
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
