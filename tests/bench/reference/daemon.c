/*
 * The yardstick for prefork's daemon: `daemon SOCKET`. It tells what a daemon of this design costs in C.
 *
 * One thread and one epoll loop. A context arrives in one message with its descriptors, is checked (peer, sizes,
 * counts), and becomes a process by vfork(2), which takes on everything in it: process group, directory, descriptors,
 * umask, limits, priority and scheduling, signals, and what else differs from the daemon's own. The program is looked up in the
 * caller's PATH and directory. The child is watched by a pidfd; the client learns that it runs and how it ended, and
 * may send it signals. A job whose client is gone is hung up.
 *
 * It leaves out what no benchmark reaches: a lock, a log, limits on jobs and time, and a shutdown in order (SIGTERM
 * ends it at once). An exec that hangs holds up everybody here; prefork pays for a starter so that this is not so there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "wire.h"

enum { EVENTS = 64, BACKLOG = 4096, SIGNAL_SET_BYTES = 8 };

/* Which descriptor of a connection an event is about: the lowest bit of its pointer. */
enum { SOCKET_EVENT = 0, CHILD_EVENT = 1 };

struct connection {
  int socket, childFd;
  pid_t child;
  int waits, isOver;
  struct connection *nextOver;
};

/* A request as it was received; all pointers lead into its body. */
struct request {
  struct context context;
  const __u32 *numbers;
  char *path, **argv, **env;
  const int *fds; /* the directory first */
};

static int epoll;
static struct attributes own;
static struct connection *over; /* to be freed when no event of this turn can name it any more */

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void watch(int fd, struct connection *connection, unsigned long kind) {
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = (unsigned long)connection | kind};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

static void finish(struct connection *connection) {
  if (connection->isOver) return;
  connection->isOver = 1;
  if (connection->socket >= 0) close(connection->socket);
  if (connection->childFd >= 0) close(connection->childFd);
  connection->nextOver = over;
  over = connection;
}

static void reply(const struct connection *connection, enum type type, const void *body, size_t size) {
  if (connection->socket < 0) return;
  struct header header = {MAGIC, type, (__u32)size, 0, 0, 0};
  struct iovec parts[2] = {{&header, sizeof header}, {(void *)body, size}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = size > 0 ? 2 : 1};
  sendmsg(connection->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT); /* a client that is gone is noticed by epoll */
}

/* --- In the child, which shares our memory: it calls the kernel and nothing else. --- */

static void writeSmall(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, text, strlen(text)) < 0) { /* not allowed to: as good as it gets */ }
  close(fd);
}

/* The file shows hexadecimal digits, and takes digits without a prefix for others. */
static void writeCoredumpFilter(const char *digits) {
  char text[2 + sizeof own.coredumpFilter] = "0x";
  strcpy(text + 2, digits);
  writeSmall("/proc/self/coredump_filter", text);
}

static void takeOn(const struct attributes *wanted) {
  umask(wanted->umask);
  for (int resource = 0; resource < LIMITS; resource++) {
    if (memcmp(&wanted->limits[resource], &own.limits[resource], sizeof own.limits[0]) == 0) continue;
    syscall(SYS_prlimit64, 0, resource, &wanted->limits[resource], NULL);
  }
  if (wanted->nice != own.nice) setpriority(PRIO_PROCESS, 0, wanted->nice);
  if (memcmp(wanted->scheduling, own.scheduling, sizeof own.scheduling) != 0) {
    syscall(SYS_sched_setattr, 0, wanted->scheduling, 0);
  }
  if (memcmp(wanted->affinity, own.affinity, sizeof own.affinity) != 0) {
    syscall(SYS_sched_setaffinity, 0, wanted->affinitySize, wanted->affinity);
  }
  if (wanted->ioPriority != own.ioPriority) syscall(SYS_ioprio_set, 1, 0, wanted->ioPriority);
  if (wanted->timerSlackNs != own.timerSlackNs) prctl(PR_SET_TIMERSLACK, wanted->timerSlackNs);
  if (wanted->personality != own.personality) personality(wanted->personality);
  if (wanted->noNewPrivileges) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (strcmp(wanted->oomScoreAdj, own.oomScoreAdj) != 0) writeSmall("/proc/self/oom_score_adj", wanted->oomScoreAdj);
  if (strcmp(wanted->coredumpFilter, own.coredumpFilter) != 0) writeCoredumpFilter(wanted->coredumpFilter);
  for (int number = 1; number <= 64; number++) {
    int isIgnored = wanted->ignoredSignals >> (number - 1) & 1;
    if (isIgnored != (number == SIGPIPE)) signal(number, isIgnored ? SIG_IGN : SIG_DFL);
  }
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &wanted->blockedSignals, NULL, SIGNAL_SET_BYTES);
}

static void placeDescriptors(const struct request *request) {
  int highest = 2, sources[FDS_MAX];
  __u32 count = request->context.descriptorCount;
  unsigned standard = 0;
  for (__u32 index = 0; index < count; index++) {
    if ((int)request->numbers[index] > highest) highest = (int)request->numbers[index];
    if (request->numbers[index] < 3) standard |= 1u << request->numbers[index];
  }
  for (__u32 index = 0; index < count; index++) { /* out of the way of what is placed */
    sources[index] = request->fds[index + 1];
    if (sources[index] <= highest) sources[index] = fcntl(sources[index], F_DUPFD_CLOEXEC, highest + 1);
  }
  for (__u32 index = 0; index < count; index++) dup2(sources[index], (int)request->numbers[index]);
  for (int number = 0; number < 3; number++) if (!(standard >> number & 1)) close(number);
}

/* Becomes the program; returns the errno with which it could not. */
static int execute(const struct request *request) {
  const char *name = request->argv[0], *path = NULL;
  if (strchr(name, '/')) {
    execve(name, request->argv, request->env);
    return errno;
  }
  for (char **variable = request->env; *variable && !path; variable++) {
    if (strncmp(*variable, "PATH=", 5) == 0) path = *variable + 5;
  }
  int outcome = ENOENT;
  for (path = path ? path : "/usr/bin:/bin"; *name; path++) {
    char file[4096];
    size_t size = strcspn(path, ":");
    const char *slash = size > 0 ? "/" : "";
    if (size + strlen(name) + 2 <= sizeof file) {
      memcpy(file, path, size);
      strcpy(stpcpy(file + size, slash), name);
      execve(file, request->argv, request->env);
      if (errno != ENOENT && errno != ENOTDIR) outcome = errno;
    }
    path += size;
    if (!*path) break;
  }
  return outcome;
}

/* --- In the daemon again. --- */

/* @returns the child's pid, or the negated errno. */
static pid_t startProgram(const struct request *request) {
  volatile int failure = 0;
  const char *filter = request->context.attributes.coredumpFilter;
  pid_t pid = vfork();
  if (pid < 0) return -errno;
  if (pid == 0) {
    setpgid(0, 0);
    if (fchdir(request->fds[0]) < 0) failure = errno;
    if (!failure) {
      placeDescriptors(request);
      takeOn(&request->context.attributes);
      failure = execute(request);
    }
    _exit(127);
  }
  /* It belongs to the memory that the child shared with us. */
  if (strcmp(filter, own.coredumpFilter) != 0) writeCoredumpFilter(own.coredumpFilter);
  if (!failure) return pid;
  waitpid(pid, NULL, 0);
  return -failure;
}

static char **pointersInto(char *bytes, __u32 size, __u32 count) {
  char **list = malloc((count + 1) * sizeof *list), *end = bytes + size;
  __u32 found = 0;
  if (!list) fail("malloc");
  while (found < count && bytes < end) {
    list[found++] = bytes;
    bytes += strnlen(bytes, (size_t)(end - bytes)) + 1;
  }
  list[found] = NULL;
  int isWhole = found == count && bytes == end;
  if (isWhole) return list;
  free(list);
  return NULL;
}

/* Checks the body and finds its parts. @returns whether it is in order. */
static int parse(struct request *request, char *body, size_t size, int fdCount) {
  struct context *context = &request->context;
  if (size < sizeof *context) return 0;
  memcpy(context, body, sizeof *context);
  size_t numbersSize = 4ul * context->descriptorCount;
  size_t expected = sizeof *context + numbersSize + context->pathSize + (size_t)context->argvSize + context->envSize;
  if (context->descriptorCount >= FDS_MAX || size != expected || context->argc == 0) return 0;
  if (fdCount != (int)context->descriptorCount + 1 || context->attributes.affinitySize > AFFINITY_BYTES) return 0;
  context->attributes.oomScoreAdj[sizeof context->attributes.oomScoreAdj - 1] = 0;
  context->attributes.coredumpFilter[sizeof context->attributes.coredumpFilter - 1] = 0;
  request->numbers = (const __u32 *)(body + sizeof *context);
  for (__u32 index = 0; index < context->descriptorCount; index++) {
    if (request->numbers[index] > 65535) return 0;
  }
  request->path = body + sizeof *context + numbersSize;
  char *argv = request->path + context->pathSize;
  request->argv = pointersInto(argv, context->argvSize, context->argc);
  request->env = pointersInto(argv + context->argvSize, context->envSize, context->envc);
  return request->argv && request->env;
}

static void run(struct connection *connection, char *body, size_t size, const int *fds, int fdCount) {
  struct request request = {.fds = fds};
  pid_t pid = parse(&request, body, size, fdCount) ? startProgram(&request) : -EBADMSG;
  free(request.argv);
  free(request.env);
  if (pid < 0) {
    struct refusedBody refused = {(__u32)-pid};
    reply(connection, REFUSED, &refused, sizeof refused);
    return finish(connection);
  }
  connection->child = pid;
  connection->childFd = (int)syscall(SYS_pidfd_open, pid, 0);
  connection->waits = request.context.wait != 0;
  if (connection->childFd < 0) fail("pidfd_open");
  watch(connection->childFd, connection, CHILD_EVENT);
  __u32 accepted = (__u32)pid;
  reply(connection, ACCEPTED, &accepted, sizeof accepted);
  if (connection->waits) return;
  close(connection->socket);
  connection->socket = -1;
}

static void handle(struct connection *connection, const struct header *header, char *body, const int *fds, int fdCount) {
  if (header->type == PING) return reply(connection, PONG, NULL, 0);
  if (header->type == RUN && connection->child == 0) return run(connection, body, header->bodySize, fds, fdCount);
  if (header->type == SIGNAL && connection->child > 0 && header->bodySize == sizeof(struct signalBody)) {
    struct signalBody wanted;
    memcpy(&wanted, body, sizeof wanted);
    kill(wanted.toGroup ? -connection->child : connection->child, (int)wanted.signal);
    return;
  }
  finish(connection);
}

/* A client that is gone before its job: the job is hung up. */
static void clientGone(struct connection *connection) {
  if (connection->child == 0) return finish(connection);
  kill(-connection->child, SIGHUP);
  kill(-connection->child, SIGCONT);
  close(connection->socket);
  connection->socket = -1;
}

/* @returns whether there was a message. */
static int receive(struct connection *connection) {
  static union { struct header header; char bytes[sizeof(struct header) + INLINE_BYTES]; } in;
  union { struct cmsghdr header; char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))]; } control;
  struct iovec part = {&in, sizeof in};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t size = recvmsg(connection->socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  int fds[FDS_MAX], fdCount = 0;
  struct cmsghdr *ancillary = CMSG_FIRSTHDR(&message);
  if (size > 0 && ancillary && ancillary->cmsg_type == SCM_RIGHTS) {
    fdCount = (int)((ancillary->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(fds, CMSG_DATA(ancillary), (size_t)fdCount * sizeof(int));
  }
  const struct header *header = &in.header;
  size_t inlineSize = size > (ssize_t)sizeof *header ? (size_t)size - sizeof *header : 0;
  int isWhole = size >= (ssize_t)sizeof *header && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) &&
                header->magic == MAGIC && header->fdCount == (__u32)fdCount;
  if (size <= 0) {
    clientGone(connection);
  } else if (isWhole && header->inMemfd && fdCount > 0 && header->bodySize <= BODY_BYTES_MAX) {
    int seals = F_SEAL_SHRINK | F_SEAL_WRITE;
    struct stat file;
    int isSealed = (fcntl(fds[0], F_GET_SEALS) & seals) == seals && fstat(fds[0], &file) == 0 &&
                   file.st_size == (off_t)header->bodySize;
    char *body = isSealed ? mmap(NULL, header->bodySize, PROT_READ | PROT_WRITE, MAP_PRIVATE, fds[0], 0) : MAP_FAILED;
    if (body == MAP_FAILED) {
      finish(connection);
    } else {
      handle(connection, header, body, fds + 1, fdCount - 1);
      munmap(body, header->bodySize);
    }
  } else if (isWhole && !header->inMemfd && header->bodySize == inlineSize) {
    handle(connection, header, in.bytes + sizeof *header, fds, fdCount);
  } else {
    finish(connection);
  }
  for (int index = 0; index < fdCount; index++) close(fds[index]);
  return size > 0;
}

static void acceptPeers(int listener) {
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    struct ucred peer;
    socklen_t size = sizeof peer;
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection) fail("calloc");
    connection->socket = fd;
    connection->childFd = -1;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || (peer.uid != 0 && peer.uid != geteuid())) {
      finish(connection);
      continue;
    }
    watch(fd, connection, SOCKET_EVENT);
    receive(connection); /* it is often there already */
  }
}

static void childEnded(struct connection *connection) {
  struct rusage used;
  int status;
  if (wait4(connection->child, &status, WNOHANG, &used) <= 0) return;
  struct exitedBody exited = {(__u32)status,
                              (__u64)used.ru_utime.tv_sec * 1000000 + (__u64)used.ru_utime.tv_usec,
                              (__u64)used.ru_stime.tv_sec * 1000000 + (__u64)used.ru_stime.tv_usec,
                              (__u64)used.ru_maxrss};
  reply(connection, EXITED, &exited, sizeof exited);
  finish(connection);
}

static void readSmall(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (read(fd, text, size - 1) < 0) fail(path);
  close(fd);
}

/* What children inherit from us anyway. */
static void captureOwn(void) {
  own.nice = getpriority(PRIO_PROCESS, 0);
  for (int resource = 0; resource < LIMITS; resource++) syscall(SYS_prlimit64, 0, resource, NULL, &own.limits[resource]);
  readSmall("/proc/self/oom_score_adj", own.oomScoreAdj, sizeof own.oomScoreAdj);
  readSmall("/proc/self/coredump_filter", own.coredumpFilter, sizeof own.coredumpFilter);
  own.personality = (__u32)personality(0xffffffff);
  own.ioPriority = (__u32)syscall(SYS_ioprio_get, 1, 0);
  own.timerSlackNs = (__u64)prctl(PR_GET_TIMERSLACK);
  syscall(SYS_sched_getattr, 0, own.scheduling, sizeof own.scheduling, 0);
  syscall(SYS_sched_getaffinity, 0, AFFINITY_BYTES, own.affinity);
}

static int listenAt(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) exit(1);
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  umask(077);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0) fail(path);
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 2) return 1;
  for (int number = 1; number <= 64; number++) signal(number, number == SIGPIPE ? SIG_IGN : SIG_DFL);
  captureOwn();
  epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) fail("epoll_create1");
  int listener = listenAt(argv[1]);
  watch(listener, NULL, SOCKET_EVENT);
  for (;;) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll, events, EVENTS, -1);
    for (int index = 0; index < count; index++) {
      struct connection *connection = (struct connection *)(events[index].data.u64 & ~1ul);
      if (!connection) acceptPeers(listener);
      else if (connection->isOver) continue;
      else if (events[index].data.u64 & CHILD_EVENT) childEnded(connection);
      else if (connection->socket >= 0) receive(connection);
    }
    while (over) {
      struct connection *next = over->nextOver;
      free(over);
      over = next;
    }
  }
}
