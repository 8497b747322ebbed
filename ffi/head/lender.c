// An image's work around a built-in command: it lends its memory to the job. A job is a process of its own, with a number, a group, descriptors, a
// directory, limits and an end of its own; only memory it has none. It runs the command in the image's, as a child of vfork(2) does, while the
// image waits: so no page is copied and none is mapped anew, which is nearly all that a fork of a Bun process costs (docs/fork-safety.md).
// What a command leaves in memory is what a function leaves there that has returned. One that was ended in the middle of JavaScript has not
// returned: then the image ends, too. All that can end a job without its doing (a broken pipe, say) happens when JavaScript is over.
//
// JavaScript gives what runs a command, and src/image/lender.ts calls this.

// As prctl(2) takes it for PR_SET_MM_MAP: what is shown of a process.
struct shown { u64 code[4], heap[2], stack, argStart, argEnd, envStart, envEnd, auxv; u32 auxvSize, exe; };

// What a command has to say.
struct outcome { const char *output; u64 outputSize; const char *complaint; u64 complaintSize; };

// Runs the command that `count` strings of `size` bytes in all name. Returns its exit status, and what is to be written in the outcome. With no
// strings: that could not be written, for the errno `size`; the complaint about it is in the outcome.
typedef long (*command)(const char *words, long size, long count);

// A job, and what it is lent.
struct loan {
  struct job job;
  command run;
  const struct outcome *outcome;
  const struct shown *shown; // of the image
  u64 caught;                // signals that the image handles
  u32 id;
  volatile u32 stage, error, isTold, isInside;
};

// Closes all descriptors but those that the job has, and `link`.
static void close_others(const struct job *j, long link) {
  long from = 0, next;
  u32 i;
  do {
    for (next = link < from ? 0x7fffffff : link, i = 0; i < j->count; i++)
      if ((long)j->descriptors[i * 2] >= from && (long)j->descriptors[i * 2] < next) next = j->descriptors[i * 2];
    if (next > from) pf_call3(SYS_close_range, from, next - 1, 0);
    from = next + 1;
  } while (next < 0x7fffffff);
}

// The signals that this process handles.
static u64 caught_signals(void) {
  u64 caught = 0, action[4];
  int i;
  for (i = 1; i <= SIGNAL_MAX; i++) if (!pf_call4(SYS_rt_sigaction, i, 0, (long)action, 8) && action[0] > SIG_IGN) caught |= 1ul << (i - 1);
  return caught;
}

// Shows the words of `j` as those of the process; without one, it is shown as what it is: `own`.
static void show(const struct shown *own, const struct job *j) {
  struct shown shown;
  memcpy(&shown, own, sizeof shown);
  if (j) {
    // Arguments and environment lie with their counts between them; what is shown must be in one piece each.
    shown.argStart = (u64)j->argv.start; shown.argEnd = shown.argStart + j->argv.size;
    shown.envStart = (u64)j->env.start; shown.envEnd = shown.envStart + j->env.size;
  }
  shown.heap[1] = (u64)pf_call1(SYS_brk, 0);
  pf_call5(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, (long)&shown, sizeof shown, 0);
}

// Writes all of a text. Returns 0, or an errno, negated.
static long write_all(int fd, const char *text, u64 size) {
  long written;
  for (; size; text += written, size -= (u64)written) {
    do written = pf_call3(SYS_write, fd, (long)text, (long)size); while (written == -EINTR);
    if (written < 0) return written;
  }
  return 0;
}

// Writes what the command has to say. Returns its exit status: a success that cannot be told of is none.
static long tell(struct loan *l, long status) {
  const struct outcome *o = l->outcome;
  long isUnheard = write_all(2, o->complaint, o->complaintSize), failure = write_all(1, o->output, o->outputSize);
  if (!failure) return isUnheard && !status ? 1 : status;
  l->isInside = 1;
  l->run(0, -failure, 0);
  l->isInside = 0;
  write_all(2, o->complaint, o->complaintSize);
  return 1;
}

// The job, from its birth to its end. Returns its exit status.
static int borrow(void *argument) {
  struct loan *l = argument;
  const struct job *j = &l->job;
  u32 stage, error;
  int i;
  u64 action[4];
  long link = STARTER_SOCKET, result;
  stage = take_on_place(j, &link, &error);
  memset(action, 0, sizeof action);
  for (i = 1; l->caught >> (i - 1) && i <= SIGNAL_MAX; i++) if (l->caught >> (i - 1) & 1) pf_call4(SYS_rt_sigaction, i, (long)action, 0, 8);
  if (!error && (result = take_on_attributes(j->attributes, j->own)) < 0) { stage = STAGE_limits; error = (u32)-result; }
  l->stage = stage; l->error = error;
  if (error) return 127;
  close_others(j, link);
  pf_call2(SYS_prctl, PR_SET_NAME, (long)j->argv.start);
  show(l->shown, j);
  l->isTold = answer(link, l->id, MESSAGE_started, (u32)pf_call0(SYS_getpid), 0, 4);
  pf_call1(SYS_close, link);
  l->isInside = 1;
  result = l->run(j->argv.start, (long)j->argv.size, j->argv.count);
  l->isInside = 0;
  return (int)tell(l, result);
}

// Makes the process of a job, and waits for its end. It tells itself that it has begun, which we could only when it has ended.
static void lend(struct loan *l, struct report *report) {
  long child = pf_borrow(CLONE_VM | CLONE_VFORK | CLONE_PARENT | CLONE_PARENT_SETTID | SIGCHLD, &report->child, borrow, l);
  if (l->isInside) pf_call1(SYS_exit_group, PREFORK_FAILED);
  restore_memory(&l->job);
  show(l->shown, 0);
  if (child < 0) answer_or_end(l->id, MESSAGE_notStarted, STAGE_process, (u32)-child, 8);
  else if (l->error) answer_or_end(l->id, MESSAGE_notStarted, l->stage, l->error, 8);
  else if (!l->isTold) answer_or_end(l->id, MESSAGE_started, (u32)child, 0, 4); // it could not
}

// Serves one job after the other until the daemon needs us no more. The process has one thread. Never returns.
__attribute__((used, visibility("hidden"))) void pf_lend(const struct shown *shown, command run, const struct outcome *outcome) {
  const u8 *body;
  int result;
  u32 i;
  u32 own[ATTRIBUTES_MAX];
  struct report *report = (struct report *)pf_call6(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, STARTER_REPORT, 0);
  struct loan l;
  struct rights rights;
  struct message in;
  if ((long)report < 0 || !own_attributes(own)) pf_call1(SYS_exit_group, PREFORK_FAILED);
  l.run = run; l.outcome = outcome; l.shown = shown; l.caught = caught_signals();
  l.job.own = own;
  for (;;) {
    rights.header.len = 0;
    result = receive_job(STARTER_SOCKET, &in, &rights, &l.job, &body);
    if (result < 0) pf_call1(SYS_exit_group, 0);
    l.id = in.header.id; l.error = l.isTold = l.isInside = 0;
    if (result) lend(&l, report);
    else answer_or_end(l.id, MESSAGE_notStarted, STAGE_descriptors, EMFILE, 8);
    if (body != in.body && (long)body >= 0) pf_call2(SYS_munmap, (long)body, in.header.size);
    // As many as have come, which may be fewer than were sent.
    for (i = 0; rights.header.len && i < (rights.header.len - sizeof rights.header) / sizeof(int); i++) pf_call1(SYS_close, rights.fds[i]);
  }
}
