// The image's and the spare's work around a built-in command: an image is a Bun process, and a page that its children write to is a page to be
// copied, for each job. So no JavaScript runs between two forks, nor between a job's arrival and its command. src/image/native.ts calls this.

// As prctl(2) takes it for PR_SET_MM_MAP: what is shown of a process.
struct shown { u64 code[4], heap[2], stack, argStart, argEnd, envStart, envEnd, auxv; u32 auxvSize, exe; };

// A job that is to be run by the caller: its words, and all it has come in.
struct arrival { const char *words; u64 size; u32 count, pad; struct job job; struct rights rights; struct message in; };

// Closes all descriptors but those that the job has.
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

// In the spare: waits for the job at `link` and takes it on. Returns it.
static struct arrival *wait_for_job(long link, const u32 *own, struct shown *shown) {
  const u8 *body;
  u32 stage, error;
  long result;
  struct job *j;
  struct arrival *a = (struct arrival *)pf_call6(SYS_mmap, 0, sizeof *a, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if ((long)a < 0) pf_call1(SYS_exit_group, PREFORK_FAILED);
  j = &a->job;
  j->own = own;
  result = receive_job(link, &a->in, &a->rights, j, &body);
  if (result < 0) pf_call1(SYS_exit_group, 0); // the daemon needs us no more
  stage = STAGE_descriptors; error = EMFILE;
  if (result) {
    stage = take_on_place(j, &link, &error);
    if (!error && (result = take_on_attributes(j->attributes, own)) < 0) { stage = STAGE_limits; error = (u32)-result; }
  }
  if (error) {
    answer(link, a->in.header.id, MESSAGE_notStarted, stage, error, 8);
    pf_call1(SYS_exit_group, 1);
  }
  close_others(j, link);
  pf_call2(SYS_prctl, PR_SET_NAME, (long)j->argv.start);
  // Arguments and environment lie with their counts between them; what is shown must be in one piece each.
  shown->argStart = (u64)j->argv.start; shown->argEnd = shown->argStart + j->argv.size;
  shown->envStart = (u64)j->env.start; shown->envEnd = shown->envStart + j->env.size;
  shown->heap[1] = (u64)pf_call1(SYS_brk, 0);
  pf_call5(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, (long)shown, sizeof *shown, 0);
  answer(link, a->in.header.id, MESSAGE_started, (u32)pf_call0(SYS_getpid), 0, 4);
  pf_call1(SYS_close, link);
  a->words = j->argv.start; a->size = j->argv.size; a->count = j->argv.count;
  return a;
}

// Tells the daemon of a spare, with its socket, or why there is none.
static void announce(long daemon, u32 child, int socket, u32 error) {
  struct { struct header header; u32 body[2]; } m;
  struct rights rights;
  struct iovec io;
  struct msghdr message;
  memset(&m, 0, sizeof m);
  memset(&message, 0, sizeof message);
  m.header.magic = MAGIC; m.header.major = PROTOCOL_MAJOR; m.header.type = child ? MESSAGE_spare : MESSAGE_failed;
  m.header.size = child ? 4 : 8; m.header.fds = child ? 1 : 0;
  m.body[0] = child ? child : error; // a failure's reason has no words: the errno says it
  rights.header.len = sizeof rights.header + sizeof(int); rights.header.level = SOL_SOCKET; rights.header.type = SCM_RIGHTS;
  rights.fds[0] = socket;
  io.base = &m; io.size = sizeof m.header + m.header.size;
  message.iov = &io; message.iovlen = 1;
  if (child) { message.control = &rights; message.controllen = (rights.header.len + 7) & ~7ul; }
  pf_call3(SYS_sendmsg, daemon, (long)&message, MSG_NOSIGNAL);
}

// Forks a spare whenever the daemon asks for one. Returns in the spares, once in each, with the job that has come. The process has one thread.
__attribute__((used, visibility("hidden"))) struct arrival *pf_serve_forks(long daemon, struct shown *shown) {
  struct header request;
  int pair[2];
  long size, child;
  u32 own[ATTRIBUTES_MAX];
  if (!own_attributes(own)) pf_call1(SYS_exit_group, PREFORK_FAILED);
  for (;;) {
    size = pf_call3(SYS_read, daemon, (long)&request, sizeof request);
    if (size == -EINTR) continue;
    if (size < (long)sizeof request || request.type != MESSAGE_fork) pf_call1(SYS_exit_group, size > 0);
    if ((size = pf_call4(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, (long)pair)) < 0) { announce(daemon, 0, 0, (u32)-size); continue; }
    child = pf_call5(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    if (!child) {
      pf_call1(SYS_close, daemon);
      pf_call1(SYS_close, pair[0]);
      return wait_for_job(pair[1], own, shown);
    }
    announce(daemon, child < 0 ? 0 : (u32)child, pair[0], child < 0 ? (u32)-child : 0);
    pf_call1(SYS_close, pair[0]);
    pf_call1(SYS_close, pair[1]);
  }
}
