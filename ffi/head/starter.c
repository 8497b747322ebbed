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

// Answers the daemon about the job `id`.
static void answer(u32 id, u32 type, u32 first, u32 second, u32 size) {
  struct { struct header header; u32 body[2]; } m;
  m.header.magic = MAGIC; m.header.major = PROTOCOL_MAJOR; m.header.type = (u16)type; m.header.flags = 0;
  m.header.size = size; m.header.fds = 0; m.header.id = id;
  m.body[0] = first; m.body[1] = second;
  pf_call6(SYS_sendto, STARTER_SOCKET, (long)&m, (long)(sizeof m.header + size), MSG_NOSIGNAL, 0, 0);
}

// Makes the child of one job. It shares nothing with us but `report`; we go on when it has become the program, or has ended.
static void start_job(struct report *report, const struct job *j, u32 id) {
  u32 error;
  report->isFailed = 0;
  long child = pf_call3(SYS_clone, CLONE_VFORK | CLONE_PARENT | CLONE_PARENT_SETTID | SIGCHLD, 0, (long)&report->child);
  if (!child) {
    report->stage = become(j, &error);
    report->error = error;
    report->isFailed = 1;
    pf_call1(SYS_exit_group, 127);
  }
  if (child < 0) answer(id, MESSAGE_notStarted, STAGE_process, (u32)-child, 8);
  else if (report->isFailed) answer(id, MESSAGE_notStarted, report->stage, report->error, 8);
  else answer(id, MESSAGE_started, (u32)child, 0, 4);
}

// Never returns.
static void starter(void) {
  const volatile struct phdr *first = header_of(PT_LOAD, 0), *head = header_of(PT_LOAD, 1);
  const u8 *body;
  int fd, isLarge;
  struct iovec io;
  struct msghdr message;
  struct job job;
  u32 own[ATTRIBUTES_MAX];
  struct rights rights;
  struct message in;
  long size, page = pf_call6(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, STARTER_REPORT, 0);
  if (page < 0) pf_call1(SYS_exit_group, PREFORK_FAILED);
  set_mask(SIG_SETMASK, ~0ul);
  pf_call2(SYS_prctl, PR_SET_NAME, (long)"pfd-starter");
  // A child need not copy the mappings of a program that never begins.
  pf_call2(SYS_munmap, (long)(first->vaddr & -4096ul), (long)((head->vaddr & -65536ul) - (first->vaddr & -4096ul)));
  for (fd = STARTER_SOCKET; fd <= STARTER_REPORT; fd++) pf_call3(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
  if (!own_attributes(own)) pf_call1(SYS_exit_group, PREFORK_FAILED);
  for (;;) {
    ((struct report *)page)->child = 0;
    io.base = &in; io.size = sizeof in;
    memset(&message, 0, sizeof message);
    message.iov = &io; message.iovlen = 1; message.control = &rights; message.controllen = sizeof rights;
    size = pf_call3(SYS_recvmsg, STARTER_SOCKET, (long)&message, MSG_CMSG_CLOEXEC);
    if (size == -EINTR) continue;
    if (size < (long)sizeof in.header || in.header.magic != MAGIC || in.header.type != MESSAGE_run) pf_call1(SYS_exit_group, 0);
    body = in.body;
    isLarge = in.header.flags & FLAG_BODY_IN_MEMFD ? 1 : 0;
    job.own = own;
    job.fds = rights.fds + isLarge;
    if (isLarge) body = (const u8 *)pf_call6(SYS_mmap, 0, in.header.size, PROT_READ, MAP_PRIVATE, rights.fds[0], 0);
    if ((long)body < 0) answer(in.header.id, MESSAGE_notStarted, STAGE_process, (u32)-(long)body, 8);
    else if (message.flags & (MSG_TRUNC | MSG_CTRUNC) || !read_job(&job, body, in.header.size)) answer(in.header.id, MESSAGE_notStarted, STAGE_descriptors, EMFILE, 8);
    else start_job((struct report *)page, &job, in.header.id);
    if (isLarge && (long)body >= 0) pf_call2(SYS_munmap, (long)body, in.header.size);
    pf_call3(SYS_close_range, STARTER_REPORT + 1, 0x7fffffff, 0);
  }
}
