// The starter: waits for jobs at descriptor 3 and makes a child of the daemon's of each, which becomes the program. One job at a time: an exec
// that hangs (a lease, a dead mount) holds up this starter, and nobody else.

struct message { struct header header; u8 body[INLINE_BODY_BYTES_MAX]; };

// Reads a job out of a `run` message, whose body the daemon has checked. Returns 0 if that is not what it is.
static int read_job(struct job *j, const u8 *body, u64 size) {
  const u32 *f = (const u32 *)body, *end = (const u32 *)(body + (size & ~3ul)), *at;
  const char *text;
  if (size < 4 * (u64)(1 + AT_SCHEDULING + 1)) return 0;
  j->flags = f[0];
  j->attributes = f + 1;
  at = j->attributes + AT_SCHEDULING;
  at += 1 + *at / 4;
  if (at >= end) return 0;
  at += 1 + *at / 4 + 3;
  if (at + 2 > end) return 0;
  j->directory = at[0];
  j->count = at[1];
  j->descriptors = at + 2;
  if (j->count > KERNEL_FDS_MAX || (at = j->descriptors + j->count * 2) >= end) return 0;
  if (j->flags & RUN_terminalGuard) { at += 2 + TERMIOS_SIZE / 4; if (at >= end) return 0; at += 1 + *at / 4; }
  text = (const char *)at;
#define NUMBER(to) do { if (text + 4 > (const char *)body + size) return 0; memcpy(&to, text, 4); text += 4; } while (0)
#define STRINGS(to) do { u32 n; NUMBER(to.count); NUMBER(n); to.start = text; to.size = n; text += n; \
  if (text > (const char *)body + size || (n && text[-1])) return 0; } while (0)
  u32 shown;
  NUMBER(shown);
  text += shown;
  STRINGS(j->argv);
  STRINGS(j->env);
  return 1;
}

// Receives one job at `socket`, with its descriptors in `rights` and its body in `in`, or in memory that `body` and `size` tell of. Returns 1, 0 for
// what cannot be a job, or -1: nothing will come any more.
static int receive_job(long socket, struct message *in, struct rights *rights, struct job *j, const u8 **body) {
  struct iovec io;
  struct msghdr message;
  long size;
  int isLarge;
  io.base = in; io.size = sizeof *in;
  memset(&message, 0, sizeof message);
  message.iov = &io; message.iovlen = 1; message.control = rights; message.controllen = sizeof *rights;
  do size = pf_call3(SYS_recvmsg, socket, (long)&message, MSG_CMSG_CLOEXEC); while (size == -EINTR);
  if (size < (long)sizeof in->header || in->header.magic != MAGIC || in->header.type != MESSAGE_run) return -1;
  isLarge = in->header.flags & FLAG_BODY_IN_MEMFD;
  j->fds = rights->fds + isLarge;
  *body = in->body;
  if (isLarge) *body = (const u8 *)pf_call6(SYS_mmap, 0, in->header.size, PROT_READ, MAP_PRIVATE, rights->fds[0], 0);
  return (long)*body >= 0 && !(message.flags & (MSG_TRUNC | MSG_CTRUNC)) && read_job(j, *body, in->header.size);
}

// Answers the daemon, at `socket`, about the job `id`. Returns whether it has been told.
static int answer(long socket, u32 id, u32 type, u32 first, u32 second, u32 size) {
  struct { struct header header; u32 body[2]; } m;
  m.header.magic = MAGIC; m.header.major = PROTOCOL_MAJOR; m.header.type = (u16)type; m.header.flags = 0;
  m.header.size = size; m.header.fds = 0; m.header.id = id;
  m.body[0] = first; m.body[1] = second;
  long sent;
  do sent = pf_call6(SYS_sendto, socket, (long)&m, (long)(sizeof m.header + size), MSG_NOSIGNAL, 0, 0); while (sent == -EINTR);
  return sent > 0;
}

// The same, or else our end tells: the daemon then looks whether the job has a process.
static void answer_or_end(u32 id, u32 type, u32 first, u32 second, u32 size) {
  if (!answer(STARTER_SOCKET, id, type, first, second, size)) pf_call1(SYS_exit_group, PREFORK_FAILED);
}

// A job and where its birth is told of.
struct birth { const struct job *job; struct report *report; };

// The child of a job. It borrows our memory until it is the program.
static int be_born(void *argument) {
  struct birth *b = argument;
  u32 error;
  b->report->stage = become(b->job, &error);
  b->report->error = error;
  b->report->isFailed = 1;
  return 127;
}

// Makes the child of one job, and answers.
static void start_job(struct report *report, struct job *j, u32 id) {
  const char *few[2048];
  u64 room = ((u64)j->argv.count + j->env.count + 3) * sizeof(char *);
  long child = 0;
  struct birth b;
  b.job = j; b.report = report;
  report->isFailed = 0;
  j->pointers = few;
  if (room > sizeof few) {
    child = pf_call6(SYS_mmap, 0, (long)room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    j->pointers = (const char **)child;
  }
  if (child >= 0) {
    child = pf_borrow(CLONE_VM | CLONE_VFORK | CLONE_PARENT | CLONE_PARENT_SETTID | SIGCHLD, &report->child, be_born, &b);
    restore_memory(j);
    if (j->pointers != few) pf_call2(SYS_munmap, (long)j->pointers, (long)room);
  }
  if (child < 0) answer_or_end(id, MESSAGE_notStarted, STAGE_process, (u32)-child, 8);
  else if (report->isFailed) answer_or_end(id, MESSAGE_notStarted, report->stage, report->error, 8);
  else answer_or_end(id, MESSAGE_started, (u32)child, 0, 4);
}

// Never returns.
static void starter(void) {
  const u8 *body;
  int fd, result;
  struct job job;
  struct report *report = (struct report *)pf_call6(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, STARTER_REPORT, 0);
  u32 own[ATTRIBUTES_MAX];
  struct rights rights;
  struct message in;
  if ((long)report < 0 || !own_attributes(own)) pf_call1(SYS_exit_group, PREFORK_FAILED);
  set_mask(SIG_SETMASK, ~0ul);
  pf_call2(SYS_prctl, PR_SET_NAME, (long)STARTER_NAME);
  for (fd = STARTER_SOCKET; fd <= STARTER_REPORT; fd++) pf_call3(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
  job.own = own;
  for (;;) {
    result = receive_job(STARTER_SOCKET, &in, &rights, &job, &body);
    if (result < 0) pf_call1(SYS_exit_group, 0);
    if (result) start_job(report, &job, in.header.id);
    else answer_or_end(in.header.id, MESSAGE_notStarted, STAGE_descriptors, EMFILE, 8);
    if (body != in.body && (long)body >= 0) pf_call2(SYS_munmap, (long)body, in.header.size);
    // What the job has is the job's alone: who is at the other end of a pipe must see when it lets go.
    if (pf_call3(SYS_close_range, STARTER_REPORT + 1, 0x7fffffff, 0)) pf_call1(SYS_exit_group, PREFORK_FAILED);
  }
}
