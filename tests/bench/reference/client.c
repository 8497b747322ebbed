/*
 * The yardstick for prefork's client: `client [-w] PROGRAM [ARGUMENT…]`, or `client -p` for a ping.
 *
 * It answers the question what a client of this design must cost: no libc, no runtime, and the same honest work. It
 * captures what prefork captures (arguments, environment, directory, descriptors, umask, nice value, signals, limits
 * and the attributes of protocol 3), looks for the daemon in three places, checks whose daemon it is, passes everything in one message, relays
 * signals while the job runs, and ends as the job ended, by a signal too. `-w` waits for the job; without it the client
 * leaves as soon as the job has been started.
 *
 * It leaves out what no benchmark reaches: terminals and job control, options, the project's socket, messages for
 * people, and a daemon that does not answer.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <linux/prctl.h>
#include "raw.h"
#include "wire.h"

enum { FAILED = 125, NOT_FOUND = 127, ENOENT_ = 2, EINTR_ = 4, SIGNALS = 64, SIGNAL_SET_BYTES = 8 };

/* The kernel's struct sigaction: a handler first, the mask last. */
struct kernelAction { unsigned long handler, flags, restorer, mask; };

/* The kernel's struct linux_dirent64. */
struct entry { unsigned long inode, offset; unsigned short size; unsigned char type; char name[]; };

struct descriptors { int fds[FDS_MAX]; __u32 numbers[FDS_MAX]; int count; };

static unsigned long lengthOf(const char *text) {
  unsigned long size = 0;
  while (text[size]) size++;
  return size;
}

static _Noreturn void leave(int status) {
  sys1(SYS_exit_group, status);
  __builtin_unreachable();
}

static const char *variable(char **env, const char *name) {
  unsigned long size = lengthOf(name);
  for (; *env; env++) {
    unsigned long at = 0;
    while (at < size && (*env)[at] == name[at]) at++;
    if (at == size && (*env)[size] == '=') return *env + size + 1;
  }
  return 0;
}

/* A socket that is connected to the daemon at `path`, or the negated errno. It must be our daemon, or root's. */
static long reach(const char *directory, const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  unsigned long size = 0;
  for (; *directory; directory++) if (size < sizeof address.sun_path - 1) address.sun_path[size++] = *directory;
  for (; *name; name++) if (size < sizeof address.sun_path - 1) address.sun_path[size++] = *name;
  long fd = sys3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return fd;
  long result = sys3(SYS_connect, fd, &address, offsetof(struct sockaddr_un, sun_path) + size + 1);
  struct ucred peer;
  socklen_t peerSize = sizeof peer;
  if (!result) result = sys5(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &peerSize);
  if (!result && peer.uid != 0 && peer.uid != (uid_t)sys0(SYS_geteuid)) leave(FAILED);
  if (!result) return fd;
  sys1(SYS_close, fd);
  return result;
}

static int discover(char **env) {
  long fd = reach("", "reference.sock");
  if (fd == -ENOENT_) fd = reach("", ".reference.sock");
  const char *runtime = variable(env, "XDG_RUNTIME_DIR");
  if (fd == -ENOENT_ && runtime) fd = reach(runtime, "/reference.sock");
  if (fd < 0) leave(FAILED);
  return (int)fd;
}

static void add(struct descriptors *list, int number) {
  if (list->count >= FDS_MAX - 2) leave(FAILED); /* room for the directory and the body */
  list->numbers[list->count] = (__u32)number;
  list->fds[list->count++] = number;
}

/* All open descriptors of ours, but the one that reads the list. */
static void addInherited(struct descriptors *list) {
  char buffer[4096] __attribute__((aligned(8)));
  long directory = sys4(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), size;
  if (directory < 0) leave(FAILED);
  while ((size = sys3(SYS_getdents64, directory, buffer, sizeof buffer)) > 0) {
    for (long at = 0; at < size; at += ((struct entry *)(buffer + at))->size) {
      const char *digit = ((struct entry *)(buffer + at))->name;
      int number = 0;
      if (*digit == '.') continue;
      for (; *digit; digit++) number = number * 10 + *digit - '0';
      if (number > 2 && number != directory) add(list, number);
    }
  }
  sys1(SYS_close, directory);
}

static void readSmall(const char *path, char *text, unsigned long size) {
  long fd = sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return;
  sys3(SYS_read, fd, text, size - 1);
  sys1(SYS_close, fd);
}

static void captureAttributes(struct attributes *own) {
  own->umask = (__u32)sys1(SYS_umask, 077);
  sys1(SYS_umask, own->umask);
  own->nice = 20 - (__s32)sys2(SYS_getpriority, 0, 0);
  for (int number = 1; number <= SIGNALS; number++) {
    struct kernelAction action;
    if (number == SIGKILL || number == SIGSTOP) continue;
    if (!sys4(SYS_rt_sigaction, number, 0, &action, SIGNAL_SET_BYTES) && action.handler == 1) {
      own->ignoredSignals |= 1ul << (number - 1);
    }
  }
  for (int resource = 0; resource < LIMITS; resource++) sys4(SYS_prlimit64, 0, resource, 0, &own->limits[resource]);
  readSmall("/proc/self/oom_score_adj", own->oomScoreAdj, sizeof own->oomScoreAdj);
  readSmall("/proc/self/coredump_filter", own->coredumpFilter, sizeof own->coredumpFilter);
  own->personality = (__u32)sys1(SYS_personality, 0xffffffff);
  own->noNewPrivileges = (__u32)sys5(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
  own->ioPriority = (__u32)sys2(SYS_ioprio_get, 1, 0);
  own->timerSlackNs = (__u64)sys1(SYS_prctl, PR_GET_TIMERSLACK);
  sys4(SYS_sched_getattr, 0, own->scheduling, sizeof own->scheduling, 0);
  long affinitySize = sys3(SYS_sched_getaffinity, 0, AFFINITY_BYTES, own->affinity);
  own->affinitySize = affinitySize > 0 ? (__u32)affinitySize : 0;
}

/* Sends all parts and descriptors as one message; a large body goes into a memfd first. */
static void sendParts(int socket, struct header *header, struct iovec *parts, int count, const int *fds) {
  int passed[FDS_MAX], passedCount = 0;
  for (int part = 1; part < count; part++) header->bodySize += (__u32)parts[part].iov_len;
  if (header->bodySize > INLINE_BYTES) {
    long body = sys2(SYS_memfd_create, "body", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (body < 0 || sys3(SYS_writev, body, parts + 1, count - 1) != (long)header->bodySize) leave(FAILED);
    sys3(SYS_fcntl, body, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    passed[passedCount++] = (int)body;
    header->inMemfd = 1;
    count = 1;
  }
  for (__u32 index = 0; index < header->fdCount; index++) passed[passedCount++] = fds[index];
  header->fdCount = (__u32)passedCount;
  union { struct cmsghdr header; char bytes[CMSG_SPACE(sizeof passed)]; } control;
  control.header = (struct cmsghdr){CMSG_LEN(4ul * passedCount), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(&control.header), passed, 4ul * passedCount);
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
  if (passedCount > 0) {
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(4ul * passedCount);
  }
  if (sys3(SYS_sendmsg, socket, &message, MSG_NOSIGNAL) < 0) leave(FAILED);
  if (header->inMemfd) sys1(SYS_close, passed[0]);
}

/* Ends as the job ended. A core file, if any, is the job's. */
static _Noreturn void endAs(__u32 waitStatus) {
  int signal = waitStatus & 127;
  if (signal == 0) leave(waitStatus >> 8 & 255);
  struct kernelAction byDefault = {0, 0, 0, 0};
  unsigned long set = 1ul << (signal - 1);
  sys5(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  sys4(SYS_rt_sigaction, signal, &byDefault, 0, SIGNAL_SET_BYTES);
  sys4(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, 0, SIGNAL_SET_BYTES);
  sys2(SYS_kill, sys0(SYS_getpid), signal);
  leave(128 + signal);
}

static void relay(int socket, int signals) {
  struct signalfd_siginfo info;
  if (sys3(SYS_read, signals, &info, sizeof info) != sizeof info) return;
  struct signalBody body = {info.ssi_signo, info.ssi_code == SI_KERNEL};
  struct header header = {MAGIC, SIGNAL, 0, 0, 0, 0};
  struct iovec parts[2] = {{&header, sizeof header}, {&body, sizeof body}};
  sendParts(socket, &header, parts, 2, 0);
}

/* Reads what the daemon says until there is nothing more to wait for. */
static _Noreturn void converse(int socket, int signals, int wait) {
  struct { struct header header; union { struct exitedBody exited; struct refusedBody refused; } body; } reply;
  for (;;) {
    struct pollfd ready[2] = {{socket, POLLIN, 0}, {signals, POLLIN, 0}};
    if (wait) {
      long result = sys5(SYS_ppoll, ready, 2, 0, 0, 0);
      if (result == -EINTR_) continue;
      if (ready[1].revents) relay(socket, signals);
      if (!ready[0].revents) continue;
    }
    long size = sys3(SYS_read, socket, &reply, sizeof reply);
    if (size == -EINTR_) continue;
    if (size < (long)sizeof reply.header || reply.header.magic != MAGIC) leave(FAILED);
    if (reply.header.type == PONG || (reply.header.type == ACCEPTED && !wait)) leave(0);
    if (reply.header.type == REFUSED) leave(reply.body.refused.errno_ == ENOENT_ ? NOT_FOUND : FAILED);
    if (reply.header.type == EXITED) endAs(reply.body.exited.waitStatus);
  }
}

static _Noreturn void ping(char **env) {
  int socket = discover(env);
  struct header header = {MAGIC, PING, 0, 0, 0, 0};
  struct iovec part = {&header, sizeof header};
  sendParts(socket, &header, &part, 1, 0);
  converse(socket, -1, 0);
}

/* All strings of a process stand one behind the other on its stack. */
static struct iovec strings(char **list, __u32 *count) {
  __u32 number = 0;
  while (list[number]) number++;
  *count = number;
  if (number == 0) return (struct iovec){0, 0};
  char *end = list[number - 1] + lengthOf(list[number - 1]) + 1;
  return (struct iovec){list[0], (unsigned long)(end - list[0])};
}

static _Noreturn void run(char **argv, char **env, int wait) {
  struct descriptors descriptors = {.count = 1}; /* the first is the directory */
  for (int number = 0; number < 3; number++) {
    if (sys2(SYS_fcntl, number, F_GETFD) >= 0) add(&descriptors, number);
  }
  if (wait) addInherited(&descriptors);
  char path[4096];
  long pathSize = sys2(SYS_getcwd, path, sizeof path);
  long directory = sys4(SYS_openat, AT_FDCWD, ".", O_PATH | O_CLOEXEC, 0);
  if (pathSize < 0 || directory < 0) leave(FAILED);
  descriptors.fds[0] = (int)directory;
  int socket = discover(env);

  /* What comes from here on is meant for the job. */
  unsigned long held = ~0ul;
  struct context context = {.wait = (__u32)wait};
  sys4(SYS_rt_sigprocmask, SIG_BLOCK, wait ? &held : 0, &context.attributes.blockedSignals, SIGNAL_SET_BYTES);
  captureAttributes(&context.attributes);
  context.descriptorCount = (__u32)descriptors.count - 1;
  context.pathSize = (__u32)pathSize;
  struct iovec words = strings(argv, &context.argc), variables = strings(env, &context.envc);
  context.argvSize = (__u32)words.iov_len;
  context.envSize = (__u32)variables.iov_len;
  struct header header = {MAGIC, RUN, 0, (__u32)descriptors.count, 0, 0};
  struct iovec parts[6] = {{&header, sizeof header},
                           {&context, sizeof context},
                           {descriptors.numbers + 1, 4ul * context.descriptorCount},
                           {path, (unsigned long)pathSize},
                           words,
                           variables};
  sendParts(socket, &header, parts, 6, descriptors.fds);
  if (!wait) converse(socket, -1, 0);
  /* What the job has is the job's alone: a pipe must end when the job closes it. */
  for (int index = 0; index < descriptors.count; index++) sys1(SYS_close, descriptors.fds[index]);
  converse(socket, (int)sys4(SYS_signalfd4, -1, &held, SIGNAL_SET_BYTES, SFD_CLOEXEC | SFD_NONBLOCK), 1);
}

__attribute__((used)) _Noreturn void start(unsigned long *stack) {
  char **argv = (char **)(stack + 1), **env = argv + stack[0] + 1;
  const char *option = stack[0] > 1 ? argv[1] : "";
  if (option[0] == '-' && option[1] == 'p') ping(env);
  int wait = option[0] == '-' && option[1] == 'w';
  if (!argv[1 + wait]) leave(FAILED);
  run(argv + 1 + wait, env, wait);
}
