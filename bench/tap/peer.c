/*
 * The other end of the measurements: the kernel's TCP.
 *
 *   peer serve                      ports 5001 (discards), 5002 (sends), 5003 (echoes), until it is killed
 *   peer sink|source ADDRESS SECS   sends to 5001, or reads from 5002, on one connection
 *   peer ping ADDRESS SECS          one byte to 5003 and back, again and again
 *   peer connect ADDRESS SECS N     N threads connect to 5003, close, and wait for the other's end
 *
 * Clients print one line of JSON: count (bytes, or times), seconds, failures,
 * CPU seconds of their own and, for ping, the median and the 99th percentile in µs.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DISCARD = 5001, GENERATE = 5002, ECHO = 5003, BLOCK = 256 * 1024, MOST_PINGS = 4000000 };

static char block[BLOCK];
static struct in_addr address;
static double seconds;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
  fprintf(stderr, "peer: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void prepare(int s) {
  int on = 1;
  setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  /* Where the kernel has it: what the comparison is with. */
  setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
}

static int dial(int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = address};
  struct timeval limit = {10, 0};
  int s = socket(AF_INET, SOCK_STREAM, 0);
  if (s < 0) fail("socket");
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  prepare(s);
  if (connect(s, (struct sockaddr *)&to, sizeof to) == 0) return s;
  close(s);
  return -1;
}

static void report(double count, double elapsed, long failures, const char *more) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  double cpu = u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
  printf("{\"count\":%.0f,\"seconds\":%.6f,\"failures\":%ld,\"cpu\":%.4f%s}\n", count, elapsed, failures, cpu, more);
}

static void sink(void) {
  int s = dial(DISCARD);
  if (s < 0) fail("connect");
  double start = now(), count = 0;
  while (now() - start < seconds) {
    ssize_t n = write(s, block, BLOCK / 2);
    if (n < 0) fail("write");
    count += n;
  }
  /* All of it has to have arrived: the other end closes when it has read our FIN. */
  shutdown(s, SHUT_WR);
  ssize_t n;
  while ((n = read(s, block, BLOCK)) > 0) continue;
  report(count, now() - start, n < 0, "");
}

static void source(void) {
  int s = dial(GENERATE);
  if (s < 0) fail("connect");
  double start = now(), count = 0;
  while (now() - start < seconds) {
    ssize_t n = read(s, block, BLOCK);
    if (n <= 0) fail("read");
    count += n;
  }
  report(count, now() - start, 0, "");
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void ping(void) {
  double *times = malloc(MOST_PINGS * sizeof *times);
  int s = dial(ECHO);
  if (s < 0) fail("connect");
  double start = now();
  long count = 0;
  while (count < MOST_PINGS) {
    double before = now();
    if (before - start >= seconds) break;
    if (write(s, "x", 1) != 1) fail("write");
    if (read(s, block, 1) != 1) fail("read");
    times[count++] = now() - before;
  }
  double elapsed = now() - start;
  if (count == 0) fail("no round trip");
  qsort(times, count, sizeof *times, ascending);
  char more[80];
  snprintf(more, sizeof more, ",\"p50\":%.2f,\"p99\":%.2f", times[count / 2] * 1e6, times[count * 99 / 100] * 1e6);
  report(count, elapsed, 0, more);
}

static long connections, failures;

static void *connect_again_and_again(void *unused) {
  double end = now() + seconds;
  char byte;
  (void)unused;
  while (now() < end) {
    int s = dial(ECHO);
    int ok = s >= 0 && shutdown(s, SHUT_WR) == 0 && read(s, &byte, 1) == 0;
    if (s >= 0) close(s);
    __sync_fetch_and_add(ok ? &connections : &failures, 1);
    if (!ok) usleep(1000);
  }
  return NULL;
}

static void connect_in_parallel(int count) {
  pthread_t threads[256];
  if (count > 256) count = 256;
  double start = now();
  for (int i = 0; i < count; i++) pthread_create(threads + i, NULL, connect_again_and_again, NULL);
  for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
  report(connections, now() - start, failures, "");
}

static void *serve_one(void *argument) {
  int s = (int)(long)argument;
  struct sockaddr_in own;
  socklen_t length = sizeof own;
  getsockname(s, (struct sockaddr *)&own, &length);
  char *mine = malloc(BLOCK);
  ssize_t n;
  switch (ntohs(own.sin_port)) {
    case DISCARD:
      while (read(s, mine, BLOCK) > 0) continue;
      break;
    case GENERATE:
      while (write(s, block, BLOCK) > 0) continue;
      break;
    default:
      while ((n = read(s, mine, BLOCK)) > 0 && write(s, mine, n) == n) continue;
  }
  free(mine);
  close(s);
  return NULL;
}

static void *serve_port(void *argument) {
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons((long)argument)};
  int on = 1, s = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(s, (struct sockaddr *)&own, sizeof own) < 0 || listen(s, 1024) < 0) fail("listen");
  for (;;) {
    int accepted = accept(s, NULL, NULL);
    if (accepted < 0) continue;
    prepare(accepted);
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve_one, (void *)(long)accepted) != 0) {
      close(accepted);
      continue;
    }
    pthread_detach(thread);
  }
  return NULL;
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  memset(block, 'x', sizeof block);
  if (argc == 2 && strcmp(argv[1], "serve") == 0) {
    pthread_t thread;
    pthread_create(&thread, NULL, serve_port, (void *)(long)DISCARD);
    pthread_create(&thread, NULL, serve_port, (void *)(long)GENERATE);
    serve_port((void *)(long)ECHO);
  }
  if (argc < 4 || inet_pton(AF_INET, argv[2], &address) != 1) {
    fprintf(stderr, "usage: peer serve | peer sink|source|ping ADDRESS SECONDS | peer connect ADDRESS SECONDS THREADS\n");
    return 2;
  }
  seconds = atof(argv[3]);
  if (strcmp(argv[1], "sink") == 0) sink();
  else if (strcmp(argv[1], "source") == 0) source();
  else if (strcmp(argv[1], "ping") == 0) ping();
  else if (strcmp(argv[1], "connect") == 0) connect_in_parallel(argc > 4 ? atoi(argv[4]) : 1);
  else return 2;
  return 0;
}
